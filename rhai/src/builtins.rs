//! Functions of Rhai's standard package that are replaced: `sleep`, which could not be interrupted, and
//! those whose one call may allocate far more than its arguments hold, since a failed allocation ends
//! the process. Each does what Rhai's own does, after it has asked for the memory.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rhai::{
    Array, Blob, Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Map, Module,
    NativeCallContext, Shared, FUNC_TO_DEBUG,
};

use crate::local;

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// Bytes that a value in an array takes.
const VALUE: u128 = size_of::<Dynamic>() as u128;
/// Bytes that a string takes beside its text, in an array.
const STRING: u128 = VALUE + 48;

/// Ends the run if `bytes` more would pass its budget.
fn need(what: &str, bytes: u128) -> Outcome<()> {
    if let Some(run) = local::current() {
        if i128::try_from(bytes).unwrap_or(i128::MAX) > i128::from(local::memory_left()) {
            return Err(run.refuse_memory(what, bytes));
        }
    }
    Ok(())
}

fn sleep(time: Option<Duration>) -> Outcome<()> {
    match (local::current(), time) {
        (_, None) => Ok(()),
        (Some(run), Some(time)) => run.sleep(time),
        (None, Some(time)) => {
            std::thread::sleep(time);
            Ok(())
        }
    }
}

/// As Rhai: nothing, less than nothing and not-a-number don't wait. Endless waits until it is stopped.
fn seconds(seconds: f64) -> Option<Duration> {
    if seconds.is_nan() || seconds <= 0.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

fn blob(len: i64, value: i64) -> Outcome<Blob> {
    let Some(len) = usize::try_from(len).ok().filter(|len| *len > 0) else {
        return Ok(Blob::new());
    };
    need("blob", len as u128)?;
    Ok(vec![(value & 0xff) as u8; len])
}

fn pad_blob(blob: &mut Blob, len: i64, value: i64) -> Outcome<()> {
    let len = usize::try_from(len).unwrap_or(0);
    if len > blob.len() {
        need("pad", (len - blob.len()) as u128)?;
        blob.resize(len, (value & 0xff) as u8);
    }
    Ok(())
}

fn pad_array(array: &mut Array, len: i64, item: Dynamic) -> Outcome<()> {
    let len = usize::try_from(len).unwrap_or(0);
    if len > array.len() {
        need("pad", (len - array.len()) as u128 * copy_size(&item))?;
        array.resize(len, item);
    }
    Ok(())
}

fn pad_string(string: &mut ImmutableString, len: i64, padding: &str) -> Outcome<()> {
    let len = usize::try_from(len).unwrap_or(0);
    let have = string.chars().count();
    let width = padding.chars().count();
    if len <= have || width == 0 {
        return Ok(());
    }
    let missing = len - have;
    need("pad", (missing as u128).div_ceil(width as u128) * padding.len() as u128)?;
    let text = string.make_mut();
    for _ in 0..missing / width {
        text.push_str(padding);
    }
    text.extend(padding.chars().take(missing % width));
    Ok(())
}

fn replace(string: &mut ImmutableString, find: &str, with: &str) -> Outcome<()> {
    if string.is_empty() {
        return Ok(());
    }
    // An upper bound first; the matches are counted only where that would be too much.
    let bound = (string.len() as u128 / find.len().max(1) as u128 + 1) * with.len() as u128;
    if bound > string.len() as u128 + 4096 {
        let matches = string.matches(find).count() as u128;
        need("replace", string.len() as u128 + matches * with.len() as u128)?;
    }
    *string = string.replace(find, with).into();
    Ok(())
}

fn split(string: &mut ImmutableString, delimiter: &str) -> Outcome<Array> {
    let pieces = string.matches(delimiter).count() as u128 + 1;
    need("split", pieces * STRING + string.len() as u128)?;
    Ok(string.split(delimiter).map(Into::into).collect())
}

fn split_whitespace(string: &mut ImmutableString) -> Outcome<Array> {
    let pieces = string.split_whitespace().count() as u128;
    need("split", pieces * STRING + string.len() as u128)?;
    Ok(string.split_whitespace().map(Into::into).collect())
}

fn to_array(blob: &mut Blob) -> Outcome<Array> {
    need("to_array", blob.len() as u128 * VALUE)?;
    Ok(blob.iter().map(|byte| Dynamic::from_int(i64::from(*byte))).collect())
}

fn to_chars(string: &str) -> Outcome<Array> {
    need("to_chars", string.len() as u128 * VALUE)?;
    Ok(string.chars().map(Dynamic::from_char).collect())
}

fn to_json(map: &mut Map) -> Outcome<String> {
    need("to_json", text_size(map.values()))?;
    let sorted: std::collections::BTreeMap<_, _> =
        map.iter().map(|(key, value)| (key.as_str(), value)).collect();
    Ok(serde_json::to_string(&sorted).unwrap_or_else(|_| "ERROR".into()))
}

/// Bytes that a copy of a value allocates; strings are shared by copies.
fn copy_size(value: &Dynamic) -> u128 {
    let inside = if let Ok(array) = value.as_array_ref() {
        array.iter().map(copy_size).sum()
    } else if let Ok(map) = value.as_map_ref() {
        map.iter().map(|(key, value)| 64 + key.len() as u128 + copy_size(value)).sum()
    } else if let Ok(blob) = value.as_blob_ref() {
        blob.len() as u128
    } else {
        0
    };
    VALUE + inside
}

/// Bytes that values take at least as text: many may share one long string.
fn text_size<'a>(values: impl Iterator<Item = &'a Dynamic>) -> u128 {
    let mut size = 0;
    for value in values {
        size += if let Ok(text) = value.as_immutable_string_ref() {
            text.len() as u128
        } else if let Ok(array) = value.as_array_ref() {
            text_size(array.iter())
        } else if let Ok(map) = value.as_map_ref() {
            text_size(map.values())
        } else {
            1
        };
    }
    size
}

/// A value within an array or a map, as text.
fn debug_text(context: &NativeCallContext, value: &mut Dynamic) -> ImmutableString {
    match context.call_native_fn_raw(FUNC_TO_DEBUG, true, &mut [value]) {
        Ok(text) if text.is_string() => text.into_immutable_string().unwrap_or_default(),
        Ok(other) => other.type_name().into(),
        Err(_) if local::current().is_some_and(|run| run.ended()) => ImmutableString::default(),
        Err(_) => format!("{value:?}").into(),
    }
}

/// The two below end the run, but don't fail: Rhai would take a failure for "no such function", and
/// make the text by itself.
fn format_array(context: NativeCallContext, array: &mut Array) -> ImmutableString {
    if need("text of an array", text_size(array.iter())).is_err() {
        return ImmutableString::default();
    }
    let mut text = String::from("[");
    for (index, value) in array.iter_mut().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&debug_text(&context, value));
    }
    text.push(']');
    text.into()
}

fn format_map(context: NativeCallContext, map: &mut Map) -> ImmutableString {
    if need("text of a map", text_size(map.values())).is_err() {
        return ImmutableString::default();
    }
    let mut text = String::from("#{");
    for (index, (key, value)) in map.iter_mut().enumerate() {
        let separator = if index > 0 { ", " } else { "" };
        write!(text, "{separator}{key:?}: {}", debug_text(&context, value)).expect("a string takes all");
    }
    text.push('}');
    text.into()
}

/// The replacements, once for all engines.
fn replacements() -> Shared<Module> {
    static MODULE: OnceLock<Shared<Module>> = OnceLock::new();
    Arc::clone(MODULE.get_or_init(|| build().into()))
}

/// Adds one function, named as Rhai names it; volatile keeps the optimizer from calling it.
macro_rules! add {
    ($module:ident, $name:expr, $function:expr) => {
        FuncRegistration::new($name)
            .with_namespace(rhai::FnNamespace::Global)
            .with_volatility(true)
            .set_into_module(&mut $module, $function)
    };
}

fn build() -> Module {
    let mut module = Module::new();
    add!(module, "sleep", |time: i64| sleep(u64::try_from(time).ok().map(Duration::from_secs)));
    add!(module, "sleep", |time: f64| sleep(seconds(time)));
    add!(module, "blob", |len: i64| blob(len, 0));
    add!(module, "blob", blob);
    add!(module, "pad", pad_blob);
    add!(module, "pad", pad_array);
    add!(module, "pad", |string: &mut ImmutableString, len: i64, padding: &str| pad_string(
        string, len, padding
    ));
    add!(module, "pad", |string: &mut ImmutableString, len: i64, padding: char| pad_string(
        string,
        len,
        padding.encode_utf8(&mut [0; 4])
    ));
    add!(module, "replace", |string: &mut ImmutableString, find: &str, with: &str| replace(
        string, find, with
    ));
    add!(module, "replace", |string: &mut ImmutableString, find: char, with: &str| replace(
        string,
        find.encode_utf8(&mut [0; 4]),
        with
    ));
    add!(module, "split", |string: &mut ImmutableString, delimiter: &str| split(string, delimiter));
    add!(module, "split", |string: &mut ImmutableString, delimiter: char| split(
        string,
        delimiter.encode_utf8(&mut [0; 4])
    ));
    add!(module, "split", split_whitespace);
    add!(module, "to_array", to_array);
    add!(module, "to_chars", to_chars);
    add!(module, "to_json", to_json);
    for name in ["print", "to_string", "debug", "to_debug"] {
        add!(module, name, format_array);
        add!(module, name, format_map);
    }
    module.build_index();
    module
}

/// Rhai's standard package, once for all engines.
pub fn standard() -> Shared<Module> {
    use rhai::packages::{Package, StandardPackage};
    static STANDARD: OnceLock<Shared<Module>> = OnceLock::new();
    Arc::clone(STANDARD.get_or_init(|| StandardPackage::new().as_shared_module()))
}

/// Gives an engine the standard package and the replacements, the latter found first.
pub fn install(engine: &mut Engine) {
    engine.register_global_module(standard());
    engine.register_global_module(replacements());
}
