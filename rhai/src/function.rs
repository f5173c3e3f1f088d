//! Python callables as Rhai functions, and Rhai's function pointers as Python callables.

use std::any::TypeId;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use rhai::{Dynamic, Engine, EvalAltResult, FnNamespace, FnPtr, FuncRegistration, Module, NativeCallContext};

use crate::convert::{to_python, to_rhai};
use crate::errors;
use crate::local;
use crate::metadata::{self, FunctionInfo};

/// The most parameters that Rhai looks for as "any type", which all of ours are.
const MAX_PARAMETERS: usize = 16;

type Outcome = Result<Dynamic, Box<EvalAltResult>>;

/// Calls Python from a script: attached for just this, and never after the run was told to end.
fn call_python(function: &Py<PyAny>, context: &NativeCallContext, args: &mut [&mut Dynamic]) -> Outcome {
    let Some(run) = local::current() else {
        return Err("Python functions can be called in a run only".into());
    };
    if run.ended() {
        return Err(run.terminated());
    }
    let outcome = local::with_context(context, || {
        Python::attach(|py| {
            let name = context.fn_name();
            let converted = args.iter().enumerate().map(|(index, value)| {
                to_python(py, value)
                    .map_err(|error| error.into_pyerr(&format!("{name}: argument {}", index + 1)))
            });
            let called = converted
                .collect::<PyResult<Vec<_>>>()
                .and_then(|args| PyTuple::new(py, args))
                .and_then(|args| function.bind(py).call1(args))
                .and_then(|value| {
                    to_rhai(&value).map_err(|error| error.into_pyerr(&format!("{name}: its result")))
                });
            called.map_err(|error| run.thrown(py, error))
        })
    });
    if run.ended() {
        return Err(run.terminated());
    }
    outcome
}

/// A Python callable given as a value: a function pointer that takes any arguments.
pub fn callable_pointer(callable: &Bound<'_, PyAny>) -> PyResult<FnPtr> {
    let own = callable.getattr("__name__").ok().and_then(|name| name.extract::<String>().ok());
    let function = callable.clone().unbind();
    let call =
        move |context: NativeCallContext, args: &mut [&mut Dynamic]| call_python(&function, &context, args);
    let function = std::sync::Arc::new(call);
    let named = |name: String| {
        let function = std::sync::Arc::clone(&function);
        #[expect(deprecated, reason = "Rhai marks what may change between releases so; ours is pinned")]
        FnPtr::from_fn(name, move |context, args| function(context, args))
    };
    own.and_then(|name| named(name).ok())
        .or_else(|| named("python_function".into()).ok())
        .ok_or_else(|| PyValueError::new_err("Rhai takes no function of this name"))
}

/// A function pointer or closure of a script.
///
/// Callable while the run that made it goes on, from the Python function that it was handed to (or one
/// called later in the run), on the run's thread. After that only its name is left.
#[pyclass(frozen, module = "herojobs_rhai")]
pub struct RhaiFunction {
    pointer: FnPtr,
    run: u64,
}

impl RhaiFunction {
    pub fn new(pointer: FnPtr) -> Self {
        Self { pointer, run: local::current().map_or(0, |run| run.number) }
    }

    pub fn pointer(&self) -> FnPtr {
        self.pointer.clone()
    }
}

/// Says that what it holds is used on this thread alone, which `detach` can't know.
struct SameThread<T>(T);
// SAFETY: `detach` runs its closure on the calling thread.
unsafe impl<T> Send for SameThread<T> {}

#[pymethods]
impl RhaiFunction {
    /// The function's name in the script; a closure's is made up by Rhai.
    #[getter]
    fn name(&self) -> &str {
        self.pointer.fn_name()
    }

    #[pyo3(signature = (*args))]
    fn __call__<'py>(&self, py: Python<'py>, args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let run = local::current().filter(|run| run.number == self.run);
        let Some((run, context)) = run.and_then(|run| Some((run, local::context_of(run)?))) else {
            let name = self.pointer.fn_name();
            return Err(PyRuntimeError::new_err(format!(
                "the Rhai function {name} can be called only while its run goes on, on the run's thread"
            )));
        };
        let mut values = Vec::with_capacity(args.len());
        for (index, value) in args.iter().enumerate() {
            values
                .push(to_rhai(&value).map_err(|error| error.into_pyerr(&format!("argument {}", index + 1)))?);
        }
        let call = SameThread((&self.pointer, context, &mut values));
        let outcome = py.detach(move || {
            let SameThread((pointer, context, values)) = { call };
            pointer.call_raw(context, None, values)
        });
        match outcome {
            Ok(value) => to_python(py, &value).map_err(|error| error.into_pyerr("result")),
            Err(error) => Err(errors::raised(py, run, *error)),
        }
    }

    fn __repr__(&self) -> String {
        format!("<RhaiFunction {}>", self.pointer.fn_name())
    }
}

/// What `inspect.signature` says of a callable.
struct Signature {
    required: usize,
    most: usize,
    params: Vec<(String, String)>,
    returns: String,
}

fn annotation(value: &Bound<'_, PyAny>, empty: &Bound<'_, PyAny>) -> PyResult<String> {
    if value.is(empty) {
        return Ok(String::new());
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_string());
    }
    match value.getattr("__name__") {
        Ok(name) if !value.hasattr("__args__")? => Ok(name.str()?.to_string()),
        _ => Ok(value.str()?.to_string()),
    }
}

fn signature(name: &str, callable: &Bound<'_, PyAny>) -> PyResult<Signature> {
    let inspect = callable.py().import("inspect")?;
    let call = callable.getattr("__call__").ok();
    for function in std::iter::once(callable).chain(call.as_ref()) {
        for test in ["iscoroutinefunction", "isasyncgenfunction"] {
            if inspect.call_method1(test, (function,))?.is_truthy()? {
                return Err(PyTypeError::new_err(format!(
                    "{name}: a coroutine function can't be called by a script, which runs without an event loop; \
                     give a function that returns its value"
                )));
            }
        }
    }
    let Ok(signature) = inspect.call_method1("signature", (callable,)) else {
        // Some built-in functions don't tell theirs; they check their arguments themselves.
        return Ok(Signature {
            required: 0,
            most: MAX_PARAMETERS,
            params: Vec::new(),
            returns: String::new(),
        });
    };
    let empty = inspect.getattr("Signature")?.getattr("empty")?;
    let mut told = Signature {
        required: 0,
        most: 0,
        params: Vec::new(),
        returns: annotation(&signature.getattr("return_annotation")?, &empty)?,
    };
    for parameter in signature.getattr("parameters")?.call_method0("values")?.try_iter()? {
        let parameter = parameter?;
        let kind = parameter.getattr("kind")?.getattr("name")?.extract::<String>()?;
        let parameter_name = parameter.getattr("name")?.extract::<String>()?;
        let required = parameter.getattr("default")?.is(&empty);
        match kind.as_str() {
            "VAR_POSITIONAL" => told.most = MAX_PARAMETERS,
            "KEYWORD_ONLY" if required => {
                return Err(PyTypeError::new_err(format!(
                    "{name}: its parameter {parameter_name} can be given by keyword only, and Rhai has no keyword \
                     arguments; give it a default"
                )));
            }
            "POSITIONAL_ONLY" | "POSITIONAL_OR_KEYWORD" => {
                told.required += usize::from(required);
                told.most = (told.most + 1).min(MAX_PARAMETERS);
                told.params.push((parameter_name, annotation(&parameter.getattr("annotation")?, &empty)?));
            }
            _ => {}
        }
    }
    if told.required > MAX_PARAMETERS {
        return Err(PyTypeError::new_err(format!(
            "{name}: it needs {} arguments; a function that scripts call has at most {MAX_PARAMETERS}",
            told.required
        )));
    }
    Ok(told)
}

/// Defines `add_arity`: the typed closure for each number of parameters.
macro_rules! arities {
    ($($count:literal => ($($arg:ident)*);)*) => {
        fn add_arity(module: &mut Module, name: &str, arity: usize, function: Py<PyAny>) {
            let reg = FuncRegistration::new(name).with_namespace(FnNamespace::Internal).with_volatility(true);
            match arity {
                $($count => {
                    reg.set_into_module(module, move |context: NativeCallContext, $(mut $arg: Dynamic),*| {
                        call_python(&function, &context, &mut [$(&mut $arg),*])
                    });
                })*
                _ => unreachable!("arities are capped at {MAX_PARAMETERS}"),
            }
        }
    };
}

arities! {
    0 => ();
    1 => (a);
    2 => (a b);
    3 => (a b c);
    4 => (a b c d);
    5 => (a b c d e);
    6 => (a b c d e f);
    7 => (a b c d e f g);
    8 => (a b c d e f g h);
    9 => (a b c d e f g h i);
    10 => (a b c d e f g h i j);
    11 => (a b c d e f g h i j k);
    12 => (a b c d e f g h i j k l);
    13 => (a b c d e f g h i j k l m);
    14 => (a b c d e f g h i j k l m n);
    15 => (a b c d e f g h i j k l m n o);
    16 => (a b c d e f g h i j k l m n o p);
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && text.chars().any(|letter| letter.is_ascii_alphanumeric())
}

/// Registers `functions`, each by its name or by `namespace::name`, and tells what is there.
pub fn install(engine: &mut Engine, functions: &Bound<'_, PyDict>) -> PyResult<Vec<FunctionInfo>> {
    let mut infos = Vec::new();
    let mut spaces = std::collections::BTreeMap::<String, Module>::new();
    for (key, callable) in functions.iter() {
        let full: String =
            key.extract().map_err(|_| PyTypeError::new_err("functions: the keys are names (str)"))?;
        let (namespace, name) = full.rsplit_once("::").unwrap_or(("", &full));
        if !full.split("::").all(is_name) {
            return Err(PyValueError::new_err(format!(
                "functions: {full:?} is no name for a Rhai function; give letters, digits and _ (\"add\", \
                 \"myapp::add\")"
            )));
        }
        if FnPtr::new(name).is_err() {
            return Err(PyValueError::new_err(format!("functions: {name:?} is a reserved word of Rhai")));
        }
        if !callable.is_callable() {
            return Err(PyTypeError::new_err(format!(
                "functions: {full} is {}, not callable",
                callable.repr()?
            )));
        }
        let told = signature(&full, &callable)?;
        for arity in told.required..=told.most {
            let function = callable.clone().unbind();
            if namespace.is_empty() {
                take_over(engine, name, arity, &callable);
            }
            add_arity(spaces.entry(namespace.to_owned()).or_default(), name, arity, function);
        }
        let doc = match callable.getattr("__doc__") {
            Ok(doc) if !doc.is_none() => callable
                .py()
                .import("inspect")?
                .call_method1("cleandoc", (doc,))?
                .extract()
                .unwrap_or_default(),
            _ => String::new(),
        };
        infos.push(FunctionInfo::new(namespace, name, told.params, told.returns, doc, "python"));
    }
    for (namespace, mut module) in spaces {
        module.build_index();
        if namespace.is_empty() {
            engine.register_global_module(module.into());
        } else {
            engine.register_static_module(&namespace, module.into());
        }
    }
    Ok(infos)
}

/// Where Rhai has a function of the same name for certain types, it would win over one for any type:
/// registers ours for those types too, so that what the user gave is what is called.
fn take_over(engine: &mut Engine, name: &str, arity: usize, callable: &Bound<'_, PyAny>) {
    for info in metadata::standard().iter().filter(|info| info.name == name && info.params.len() == arity) {
        let types: Option<Vec<TypeId>> =
            info.params.iter().map(|(_, kind)| metadata::type_id(kind)).collect();
        if let Some(types) = types {
            let function = callable.clone().unbind();
            engine.register_raw_fn(
                name,
                types,
                move |context: NativeCallContext, args: &mut [&mut Dynamic]| {
                    call_python(&function, &context, args)
                },
            );
        }
    }
}
