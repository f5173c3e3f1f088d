//! Errors as Python sees them: kind, message, place, the calls that led there, and a hint.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyType};
use rhai::{Dynamic, EvalAltResult, Position, Scope};

use crate::cache::Compiled;
use crate::convert::to_python;
use crate::engine::EngineCore;
use crate::metadata::{nearest, standard};
use crate::place;
use crate::state::{End, RunState};

/// Longest message; what was thrown is told whole by `value`.
const MAX_MESSAGE: usize = 2000;
/// Longest line of the script that is shown, in characters.
const MAX_SHOWN: usize = 160;

struct Frame {
    function: String,
    source: String,
    at: Position,
}

/// An error taken apart.
struct Told {
    kind: &'static str,
    message: String,
    reason: String,
    /// The module that it happened in, "" for the script itself.
    source: String,
    /// Line and column, from 1.
    at: Option<(usize, usize)>,
    value: Dynamic,
    /// Outermost first.
    frames: Vec<Frame>,
}

/// Rhai's variant in snake case.
fn kind(error: &EvalAltResult) -> &'static str {
    use EvalAltResult as E;
    match error {
        E::ErrorSystem(..) => "system",
        E::ErrorParsing(..) => "parsing",
        E::ErrorVariableExists(..) => "variable_exists",
        E::ErrorForbiddenVariable(..) => "forbidden_variable",
        E::ErrorVariableNotFound(..) => "variable_not_found",
        E::ErrorPropertyNotFound(..) => "property_not_found",
        E::ErrorIndexNotFound(..) => "index_not_found",
        E::ErrorFunctionNotFound(..) => "function_not_found",
        E::ErrorModuleNotFound(..) => "module_not_found",
        E::ErrorInFunctionCall(..) => "in_function_call",
        E::ErrorInModule(..) => "in_module",
        E::ErrorUnboundThis(..) => "unbound_this",
        E::ErrorMismatchDataType(..) => "mismatch_data_type",
        E::ErrorMismatchOutputType(..) => "mismatch_output_type",
        E::ErrorIndexingType(..) => "indexing_type",
        E::ErrorArrayBounds(..) => "array_bounds",
        E::ErrorStringBounds(..) => "string_bounds",
        E::ErrorBitFieldBounds(..) => "bit_field_bounds",
        E::ErrorFor(..) => "for",
        E::ErrorDataRace(..) => "data_race",
        E::ErrorNonPureMethodCallOnConstant(..) => "non_pure_method_call_on_constant",
        E::ErrorAssignmentToConstant(..) => "assignment_to_constant",
        E::ErrorDotExpr(..) => "dot_expr",
        E::ErrorArithmetic(..) => "arithmetic",
        E::ErrorTooManyOperations(..) => "too_many_operations",
        E::ErrorTooManyVariables(..) => "too_many_variables",
        E::ErrorTooManyModules(..) => "too_many_modules",
        E::ErrorStackOverflow(..) => "stack_overflow",
        E::ErrorDataTooLarge(..) => "data_too_large",
        E::ErrorTerminated(..) => "terminated",
        E::ErrorCustomSyntax(..) => "custom_syntax",
        E::ErrorRuntime(..) => "runtime",
        _ => "other",
    }
}

/// Takes off the wrapper that each call and each module put around an error.
fn unwrap(mut error: EvalAltResult, script: &str) -> Told {
    let mut source = String::new();
    let mut frames = Vec::new();
    let within = |name: String| if name == script { String::new() } else { name };
    loop {
        match error {
            EvalAltResult::ErrorInFunctionCall(name, inner_source, inner, at) => {
                let function = if name.starts_with("anon$") { "closure".to_owned() } else { name };
                frames.push(Frame { function, source: source.clone(), at });
                source = within(inner_source);
                error = *inner;
            }
            EvalAltResult::ErrorInModule(path, inner, at) => {
                frames.push(Frame { function: format!("module {path}"), source: source.clone(), at });
                source = within(path);
                error = *inner;
            }
            _ => break,
        }
    }
    let kind = kind(&error);
    let at = position(error.take_position());
    let value = match &error {
        EvalAltResult::ErrorRuntime(value, _) => value.clone(),
        _ => Dynamic::UNIT,
    };
    let message = match &error {
        EvalAltResult::ErrorRuntime(value, _) if !value.is_unit() => thrown_text(value),
        EvalAltResult::ErrorParsing(problem, _) => format!("Syntax error: {problem}"),
        // One type, three names: of the reference, of Rhai's string and of Rust's.
        EvalAltResult::ErrorFunctionNotFound(..) => {
            error.to_string().replace("&str | ImmutableString | String", "string").replace("i64", "int")
        }
        other => other.to_string(),
    };
    Told { kind, message, reason: String::new(), source, at, value, frames }
}

/// A thrown value in a message; a Python exception reads as Python shows it.
fn thrown_text(value: &Dynamic) -> String {
    if value.tag() != 0 {
        if let Ok(map) = value.as_map_ref() {
            if let (Some(name), Some(message)) = (map.get("type"), map.get("message")) {
                return format!("{name}: {message}");
            }
        }
    }
    value.to_string()
}

/// What was probably meant by a name that isn't known.
fn hint(told: &Told, core: &EngineCore, script: &Compiled, scope: Option<&Scope>) -> Option<String> {
    let missing = told.message.split_once(": ")?.1;
    match told.kind {
        "variable_not_found" => {
            let params =
                script.code.ast.iter_functions().flat_map(|function| function.params).collect::<Vec<_>>();
            let in_scope = scope.into_iter().flat_map(|scope| scope.iter_raw().map(|(name, ..)| name));
            let names = declared(&script.text).into_iter().chain(params).chain(in_scope);
            did_you_mean(&nearest(missing, names))
        }
        "function_not_found" => {
            let full = missing.split(" (").next().unwrap_or(missing).trim();
            let name = full.rsplit("::").next().unwrap_or(full);
            let known = || core.python.iter().chain(standard());
            let mut same: Vec<String> =
                known().filter(|info| info.name == name).map(|info| info.signature()).collect();
            let own = script.code.ast.iter_functions().collect::<Vec<_>>();
            same.extend(
                own.iter().filter(|f| f.name == name).map(|f| format!("{}({})", f.name, f.params.join(", "))),
            );
            if !same.is_empty() {
                let more =
                    if same.len() > 3 { format!(" and {} more", same.len() - 3) } else { String::new() };
                same.truncate(3);
                return Some(format!("there is {}{more}", same.join(", ")));
            }
            did_you_mean(&nearest(
                name,
                known().map(|info| info.name.as_str()).chain(own.iter().map(|f| f.name)),
            ))
        }
        _ => None,
    }
}

fn did_you_mean(names: &[&str]) -> Option<String> {
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
}

/// The names that a script declares with let, const, for and as.
fn declared(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut declares = false;
    for word in
        text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
    {
        if declares {
            names.push(word);
        }
        declares = matches!(word, "let" | "const" | "for" | "as");
    }
    names
}

/// Line and column from 1; Rhai leaves the column out at the start of a line.
fn position(at: Position) -> Option<(usize, usize)> {
    Some((at.line()?, at.position().unwrap_or(1)))
}

fn place_text(source: &str, at: Position) -> String {
    match (position(at), source) {
        (Some((line, column)), "") => format!("{line}:{column}"),
        (Some((line, column)), source) => format!("{source}:{line}:{column}"),
        (None, "") => "start".to_owned(),
        (None, source) => source.to_owned(),
    }
}

/// The line of the script and a caret below it.
fn excerpt(text: &str, line: usize, column: usize) -> Option<String> {
    let shown: Vec<char> =
        text.lines().nth(line - 1)?.chars().map(|it| if it == '\t' { ' ' } else { it }).collect();
    let from = if shown.len() > MAX_SHOWN {
        (column - 1).saturating_sub(MAX_SHOWN / 2).min(shown.len() - MAX_SHOWN)
    } else {
        0
    };
    let part: String = shown.iter().skip(from).take(MAX_SHOWN).collect();
    let number = line.to_string();
    let blank = " ".repeat(number.len());
    Some(format!(
        "{number} | {}\n{blank} | {}^",
        part.trim_end(),
        " ".repeat(column - 1 - from.min(column - 1))
    ))
}

impl Told {
    /// `script:3:9: Variable not found: x`, the line with a caret, and one line a frame.
    fn text(&self, core: &EngineCore, script: &Compiled) -> String {
        let source = if self.source.is_empty() { &script.name } else { &self.source };
        let Some((line, column)) = self.at else {
            return format!("{source}: {}{}", self.message, self.trace());
        };
        let shown = self.with_text(core, script, |text| excerpt(text, line, column));
        let shown = shown.map(|shown| format!("\n{shown}")).unwrap_or_default();
        format!("{source}:{line}:{column}: {}{shown}{}", self.message, self.trace())
    }

    /// What `look` finds in the text that the error happened in.
    fn with_text<T>(
        &self,
        core: &EngineCore,
        script: &Compiled,
        look: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        if self.source.is_empty() {
            return look(&script.text);
        }
        let module = core.folder.as_ref().and_then(|folder| folder.text(&self.source));
        module.and_then(|module| look(&module.text))
    }

    /// Finds the operator that failed, where Rhai didn't tell.
    fn find_place(&mut self, core: &EngineCore, script: &Compiled) {
        if self.at.is_none() && self.kind == "arithmetic" {
            let function = self.frames.last().map(|frame| frame.function.as_str());
            let function = function.filter(|name| !name.starts_with("module "));
            self.at = self.with_text(core, script, |text| place::operator(text, function, &self.message));
        }
    }

    fn trace(&self) -> String {
        let line = |frame: &Frame| {
            format!("\nin {} (called at {})", frame.function, place_text(&frame.source, frame.at))
        };
        self.frames.iter().rev().map(line).collect()
    }

    fn raise(mut self, py: Python<'_>, core: &EngineCore, script: &Compiled, cause: Option<PyErr>) -> PyErr {
        self.find_place(core, script);
        if self.message.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE).rev().find(|end| self.message.is_char_boundary(*end)).unwrap_or(0);
            self.message.truncate(end);
            self.message.push_str(" ...");
        }
        match self.build(py, core, script) {
            Ok(error) => {
                if cause.is_some() {
                    error.set_cause(py, cause);
                }
                error
            }
            Err(error) => error,
        }
    }

    fn build(&self, py: Python<'_>, core: &EngineCore, script: &Compiled) -> PyResult<PyErr> {
        static ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static FRAME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let frames = PyList::empty(py);
        for frame in &self.frames {
            let (line, column) = position(frame.at).unzip();
            let class = FRAME.import(py, "herojobs_rhai._error", "Frame")?;
            frames.append(class.call1((&frame.function, &frame.source, line, column))?)?;
        }
        let (line, column) = self.at.unzip();
        let details = PyDict::new(py);
        details.set_item("kind", self.kind)?;
        details.set_item("message", &self.message)?;
        details.set_item("line", line)?;
        details.set_item("column", column)?;
        details.set_item("source", &self.source)?;
        let value = to_python(py, &self.value);
        details.set_item("value", value.ok())?;
        details.set_item("frames", frames.to_tuple())?;
        details.set_item("reason", &self.reason)?;
        let class = ERROR.import(py, "herojobs_rhai._error", "RhaiError")?;
        Ok(PyErr::from_value(class.call((self.text(core, script),), Some(&details))?))
    }
}

/// A script that doesn't parse.
pub fn parsing(py: Python<'_>, core: &EngineCore, script: &Compiled, error: EvalAltResult) -> PyErr {
    unwrap(error, &script.name).raise(py, core, script, None)
}

/// An error within a run, for the Python function that called back into Rhai.
pub fn raised(py: Python<'_>, run: &RunState, error: EvalAltResult) -> PyErr {
    failed(py, run, error, None)
}

/// A run that failed by itself.
pub fn failed(py: Python<'_>, run: &RunState, error: EvalAltResult, scope: Option<&Scope>) -> PyErr {
    let mut told = unwrap(error, &run.script.name);
    if told.source.is_empty() {
        if let Some(hint) = hint(&told, &run.engine, &run.script, scope) {
            told.message = format!("{}; {hint}", told.message);
        }
    }
    let cause = match told.value.tag() {
        0 => None,
        number => run.exception(py, number),
    };
    told.raise(py, &run.engine, &run.script, cause)
}

/// A run that was ended.
pub fn ended(py: Python<'_>, run: &RunState, end: End, error: Option<EvalAltResult>) -> PyErr {
    let mut told = match error {
        Some(error) => unwrap(error, &run.script.name),
        None => unwrap(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE), &run.script.name),
    };
    let limits = &run.engine.limits;
    (told.kind, told.message) = match end {
        End::Interrupted(error) => return error,
        End::Stopped(reason) => {
            let message = format!("Script terminated: {reason}");
            told.reason = reason;
            ("terminated", message)
        }
        End::Memory(detail) => {
            let detail = if detail.is_empty() { detail } else { format!("; {detail}") };
            ("memory", format!("Script used more than its {} bytes of memory{detail}", limits.memory))
        }
        End::Operations => {
            ("too_many_operations", format!("Script made more than {} operations", limits.max_operations))
        }
        End::Stack => ("stack_overflow", "Stack overflow: the thread's stack is used up".to_owned()),
    };
    told.value = Dynamic::UNIT;
    told.raise(py, &run.engine, &run.script, None)
}

/// An error that isn't Rhai's: a panic, a value that can't be converted.
pub fn other(py: Python<'_>, run: &RunState, kind: &'static str, message: String) -> PyErr {
    let told = Told {
        kind,
        message,
        reason: String::new(),
        source: String::new(),
        at: None,
        value: Dynamic::UNIT,
        frames: Vec::new(),
    };
    told.raise(py, &run.engine, &run.script, None)
}
