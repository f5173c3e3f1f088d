//! What functions there are: for `engine.functions()`, and for "did you mean".

use std::any::TypeId;
use std::ops::{Range, RangeInclusive};
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use rhai::{Array, Blob, Dynamic, Engine, FnPtr, ImmutableString, Instant, Map};
use rust_decimal::Decimal;

use crate::builtins;

/// One function as a script sees it.
pub struct FunctionInfo {
    pub namespace: String,
    pub name: String,
    /// Name and type of each parameter, either "" where it isn't known.
    pub params: Vec<(String, String)>,
    returns: String,
    doc: String,
    origin: &'static str,
}

impl FunctionInfo {
    pub fn new(
        namespace: &str,
        name: &str,
        params: Vec<(String, String)>,
        returns: String,
        doc: String,
        origin: &'static str,
    ) -> Self {
        Self { namespace: namespace.into(), name: name.into(), params, returns, doc, origin }
    }

    /// As one would write it: `pad(array: Array, len: int, item: Dynamic)`.
    pub fn signature(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|(name, kind)| match (name.as_str(), kind.as_str()) {
                ("", kind) => kind.to_owned(),
                (name, "") => name.to_owned(),
                (name, kind) => format!("{name}: {kind}"),
            })
            .collect();
        let space = if self.namespace.is_empty() { String::new() } else { format!("{}::", self.namespace) };
        let returns = if self.returns.is_empty() { String::new() } else { format!(" -> {}", self.returns) };
        format!("{space}{}({}){returns}", self.name, params.join(", "))
    }

    pub fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("name", &self.name)?;
        dict.set_item("namespace", &self.namespace)?;
        dict.set_item("signature", self.signature())?;
        let params = PyList::empty(py);
        for (name, kind) in &self.params {
            let param = PyDict::new(py);
            param.set_item("name", name)?;
            param.set_item("type", kind)?;
            params.append(param)?;
        }
        dict.set_item("params", params)?;
        dict.set_item("returns", &self.returns)?;
        dict.set_item("doc", &self.doc)?;
        dict.set_item("origin", self.origin)?;
        Ok(dict)
    }
}

/// Rhai's own functions; those that are replaced by ours keep their signatures and documentation.
pub fn standard() -> &'static [FunctionInfo] {
    static STANDARD: OnceLock<Vec<FunctionInfo>> = OnceLock::new();
    STANDARD.get_or_init(|| {
        let mut engine = Engine::new_raw();
        engine.register_global_module(builtins::standard());
        let told = engine.gen_fn_metadata_to_json(true).unwrap_or_default();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap_or_default();
        let mut infos: Vec<FunctionInfo> =
            told["functions"].as_array().into_iter().flatten().filter_map(read).collect();
        infos.sort_by_cached_key(FunctionInfo::signature);
        infos
    })
}

/// A type by the name that scripts know it by; None for numbers that no script has.
fn script_type(rust: &str) -> Option<&str> {
    let inner =
        rust.strip_prefix("Result<").and_then(|it| it.strip_suffix(", Box<EvalAltResult>>")).unwrap_or(rust);
    Some(match inner.trim_start_matches("&mut ").trim_start_matches('&') {
        "i8" | "u8" | "i16" | "u16" | "i32" | "u32" | "u64" | "i128" | "u128" | "f32" => return None,
        "i64" | "INT" => "int",
        "f64" | "FLOAT" => "float",
        "str" | "String" | "ImmutableString" => "string",
        "Array" => "array",
        "Blob" => "blob",
        "Map" => "map",
        "Decimal" => "decimal",
        "FnPtr" => "Fn",
        "Instant" => "timestamp",
        "Dynamic" | "?" | "_" => "any",
        "Range<i64>" | "ExclusiveRange" => "range",
        "RangeInclusive<i64>" | "InclusiveRange" => "range=",
        "()" => "",
        other => other,
    })
}

/// One function of Rhai's JSON; operators, property getters and the like are left out.
fn read(function: &serde_json::Value) -> Option<FunctionInfo> {
    let name = function["name"].as_str()?;
    if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        return None;
    }
    let count = function["numParams"].as_u64().unwrap_or(0) as usize;
    let mut params: Vec<(String, String)> = function["params"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|param| {
            let name = param["name"].as_str().unwrap_or("").trim_start_matches('_');
            let kind = script_type(param["type"].as_str().unwrap_or(""))?;
            Some((name.to_owned(), kind.to_owned()))
        })
        .collect::<Option<_>>()?;
    params.resize(count, (String::new(), String::new()));
    let doc: Vec<&str> =
        function["docComments"].as_array().into_iter().flatten().filter_map(|line| line.as_str()).collect();
    let doc = doc
        .join("\n")
        .lines()
        .map(|line| line.trim_start_matches("///").trim_end().to_owned())
        .collect::<Vec<_>>();
    let doc = doc.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let returns = script_type(function["returnType"].as_str().unwrap_or("")).unwrap_or("int").to_owned();
    Some(FunctionInfo::new("", name, params, returns, doc, "rhai"))
}

/// The type that `script_type` names.
pub fn type_id(kind: &str) -> Option<TypeId> {
    Some(match kind {
        "int" => TypeId::of::<i64>(),
        "float" => TypeId::of::<f64>(),
        "bool" => TypeId::of::<bool>(),
        "char" => TypeId::of::<char>(),
        "string" => TypeId::of::<ImmutableString>(),
        "array" => TypeId::of::<Array>(),
        "blob" => TypeId::of::<Blob>(),
        "map" => TypeId::of::<Map>(),
        "decimal" => TypeId::of::<Decimal>(),
        "Fn" => TypeId::of::<FnPtr>(),
        "timestamp" => TypeId::of::<Instant>(),
        "range" => TypeId::of::<Range<i64>>(),
        "range=" => TypeId::of::<RangeInclusive<i64>>(),
        "any" => TypeId::of::<Dynamic>(),
        "" => TypeId::of::<()>(),
        _ => return None,
    })
}

/// The names nearest to `name`, nearest first, at most three.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    // Of one or two letters anything is near.
    let most = (name.chars().count() / 3).min(3);
    let mut near: Vec<(usize, &str)> = names
        .filter(|other| *other != name)
        .filter_map(|other| Some((distance(name, other, most)?, other)))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, other)| other).collect()
}

/// Edits between two names (insert, delete, replace, swap neighbours), None when more than `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let replaced = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn edits_are_counted() {
        assert_eq!(distance("count", "cuont", 3), Some(1));
        assert_eq!(distance("kitten", "sitting", 3), Some(3));
        assert_eq!(distance("abc", "xyzabc", 2), None);
    }

    #[test]
    fn the_nearest_comes_first() {
        assert_eq!(nearest("lenght", ["length", "light", "x"].into_iter()), ["length", "light"]);
        assert!(nearest("ab", ["xy"].into_iter()).is_empty());
    }
}
