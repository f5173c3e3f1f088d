//! Values between Rhai and Python. The price is one conversion, so whole values go over at once; where
//! in a value something can't, is worked out only when it can't.

use std::ops::{Range, RangeInclusive};

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyRange, PyString, PyTuple,
    PyType,
};
use rhai::{Array, Dynamic, FnPtr, Instant, Map};
use rust_decimal::Decimal;

use crate::function::{callable_pointer, RhaiFunction};

/// Nesting that is converted; deeper values are refused on both sides.
const MAX_DEPTH: usize = 128;

/// What can't be converted, and where it is: `value["a"][3]`.
pub struct ConvertError {
    path: Vec<String>,
    what: String,
    kind: Kind,
}

enum Kind {
    Type,
    Overflow,
    Value,
    /// Raised by Python code that the conversion called.
    Raised(PyErr),
}

impl ConvertError {
    fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { path: Vec::new(), what: what.into(), kind }
    }

    fn within(mut self, step: impl FnOnce() -> String) -> Self {
        self.path.push(step());
        self
    }

    /// One line: where in `root`, and what is wrong there.
    pub fn message(&self, root: &str) -> String {
        let path: String = self.path.iter().rev().map(String::as_str).collect();
        format!("{root}{path}: {}", self.what)
    }

    /// The Python exception of a value that came from Python.
    pub fn into_pyerr(self, root: &str) -> PyErr {
        let message = self.message(root);
        match self.kind {
            Kind::Type => PyTypeError::new_err(message),
            Kind::Overflow => PyOverflowError::new_err(message),
            Kind::Value => PyValueError::new_err(message),
            Kind::Raised(error) => error,
        }
    }
}

impl From<PyErr> for ConvertError {
    fn from(error: PyErr) -> Self {
        Self::new(Kind::Raised(error), "raised an exception")
    }
}

type Converted<T> = Result<T, ConvertError>;

fn too_deep() -> ConvertError {
    ConvertError::new(Kind::Value, format!("nested more than {MAX_DEPTH} deep"))
}

/// A Rhai value as Python's.
pub fn to_python<'py>(py: Python<'py>, value: &Dynamic) -> Converted<Bound<'py, PyAny>> {
    outward(py, value, 0)
}

fn outward<'py>(py: Python<'py>, value: &Dynamic, depth: usize) -> Converted<Bound<'py, PyAny>> {
    if value.is_unit() {
        return Ok(py.None().into_bound(py));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(PyString::new(py, &text).into_any());
    }
    if let Ok(number) = value.as_int() {
        return Ok(number.into_pyobject(py).map_err(PyErr::from)?.into_any());
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(PyBool::new(py, flag).to_owned().into_any());
    }
    if let Ok(number) = value.as_float() {
        return Ok(PyFloat::new(py, number).into_any());
    }
    if depth >= MAX_DEPTH {
        return Err(too_deep());
    }
    if let Ok(map) = value.as_map_ref() {
        let dict = PyDict::new(py);
        for (key, value) in map.iter() {
            let value = outward(py, value, depth + 1)
                .map_err(|error| error.within(|| format!("[{:?}]", key.as_str())))?;
            dict.set_item(key.as_str(), value)?;
        }
        return Ok(dict.into_any());
    }
    if let Ok(array) = value.as_array_ref() {
        let list = PyList::empty(py);
        for (index, value) in array.iter().enumerate() {
            list.append(
                outward(py, value, depth + 1).map_err(|error| error.within(|| format!("[{index}]")))?,
            )?;
        }
        return Ok(list.into_any());
    }
    if let Ok(blob) = value.as_blob_ref() {
        return Ok(PyBytes::new(py, &blob).into_any());
    }
    rare_outward(py, value)
}

#[cold]
fn rare_outward<'py>(py: Python<'py>, value: &Dynamic) -> Converted<Bound<'py, PyAny>> {
    if let Ok(letter) = value.as_char() {
        return Ok(PyString::new(py, letter.encode_utf8(&mut [0; 4])).into_any());
    }
    if let Ok(number) = value.as_decimal() {
        return Ok(number.into_pyobject(py)?);
    }
    if let Some(pointer) = value.read_lock::<FnPtr>() {
        return Ok(Bound::new(py, RhaiFunction::new(pointer.clone()))?.into_any());
    }
    if let Some(range) = value.read_lock::<Range<i64>>() {
        return Ok(py.get_type::<PyRange>().call1((range.start, range.end))?);
    }
    if let Some(range) = value.read_lock::<RangeInclusive<i64>>() {
        return Ok(py.get_type::<PyRange>().call1((*range.start(), i128::from(*range.end()) + 1))?);
    }
    if let Some(taken) = value.read_lock::<Instant>() {
        return Ok(PyFloat::new(py, taken.elapsed().as_secs_f64()).into_any());
    }
    if let Some(number) = value.read_lock::<f32>() {
        return Ok(PyFloat::new(py, f64::from(*number)).into_any());
    }
    macro_rules! integers {
        ($($kind:ty)*) => {
            $(if let Some(number) = value.read_lock::<$kind>() {
                return Ok(number.into_pyobject(py).map_err(PyErr::from)?.into_any());
            })*
        };
    }
    integers!(i8 u8 i16 u16 i32 u32 u64 i128 u128);
    Err(ConvertError::new(
        Kind::Type,
        format!("a value of Rhai's type {} has no form in Python", value.type_name()),
    ))
}

/// A Python value as Rhai's.
pub fn to_rhai(value: &Bound<'_, PyAny>) -> Converted<Dynamic> {
    inward(value, 0)
}

fn text_of(value: &Bound<'_, PyString>) -> Converted<Dynamic> {
    match value.to_str() {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(ConvertError::new(Kind::Value, "a str with lone surrogates can't be UTF-8")),
    }
}

fn inward(value: &Bound<'_, PyAny>, depth: usize) -> Converted<Dynamic> {
    if value.is_none() {
        return Ok(Dynamic::UNIT);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return text_of(text);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(flag.is_true().into());
    }
    if value.is_instance_of::<PyInt>() {
        return match value.extract::<i64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err(ConvertError::new(Kind::Overflow, "an int outside of Rhai's 64 bits")),
        };
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(number.value().into());
    }
    if depth >= MAX_DEPTH {
        return Err(too_deep());
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let mut map = Map::new();
        for (key, value) in dict.iter() {
            let Ok(key) = key.cast::<PyString>() else {
                let name = key.get_type().name()?;
                return Err(ConvertError::new(
                    Kind::Type,
                    format!("a key of type {name}; Rhai's maps have str keys"),
                ));
            };
            let Ok(key) = key.to_str() else {
                return Err(ConvertError::new(Kind::Value, "a key with lone surrogates can't be UTF-8"));
            };
            let value = inward(&value, depth + 1).map_err(|error| error.within(|| format!("[{key:?}]")))?;
            map.insert(key.into(), value);
        }
        return Ok(map.into());
    }
    let item = |(index, value): (usize, Bound<'_, PyAny>)| {
        inward(&value, depth + 1).map_err(|error| error.within(|| format!("[{index}]")))
    };
    if let Ok(list) = value.cast::<PyList>() {
        return Ok(list.iter().enumerate().map(item).collect::<Converted<Array>>()?.into());
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return Ok(tuple.iter().enumerate().map(item).collect::<Converted<Array>>()?.into());
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Dynamic::from_blob(bytes.as_bytes().to_vec()));
    }
    rare_inward(value)
}

#[cold]
fn rare_inward(value: &Bound<'_, PyAny>) -> Converted<Dynamic> {
    if let Ok(bytes) = value.cast::<PyByteArray>() {
        return Ok(Dynamic::from_blob(bytes.to_vec()));
    }
    if value.is_instance_of::<PyMemoryView>() {
        let bytes = value.call_method0("tobytes")?;
        return Ok(Dynamic::from_blob(bytes.extract()?));
    }
    if is_a(value, &DECIMAL, "decimal", "Decimal")? {
        let text = value.str()?.to_string();
        // Exactly, or not at all: Rhai's decimals have 28 digits, Python's have any number of them.
        let written = Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text));
        return match written.ok().filter(|number| same_number(*number, value)) {
            Some(number) => Ok(Dynamic::from_decimal(number)),
            None => Err(ConvertError::new(
                Kind::Overflow,
                format!("the Decimal {text} isn't one of Rhai's (28 digits, finite)"),
            )),
        };
    }
    if let Ok(range) = value.cast::<PyRange>() {
        let (start, stop, step): (i64, i64, i64) = (
            range.getattr("start")?.extract().map_err(|_| range_error())?,
            range.getattr("stop")?.extract().map_err(|_| range_error())?,
            range.getattr("step")?.extract().map_err(|_| range_error())?,
        );
        return if step == 1 { Ok(Dynamic::from(start..stop)) } else { Err(range_error()) };
    }
    if let Ok(function) = value.cast::<RhaiFunction>() {
        return Ok(Dynamic::from(function.get().pointer()));
    }
    if is_a(value, &ENUM, "enum", "Enum")? {
        let inner = value.getattr("value")?;
        let text = if inner.is_instance_of::<PyString>() { inner } else { value.getattr("name")? };
        return text_of(text.cast::<PyString>().map_err(PyErr::from)?);
    }
    if value.hasattr("isoformat")?
        && value.get_type().module()?.to_str().is_ok_and(|module| module == "datetime")
    {
        return text_of(value.call_method0("isoformat")?.cast::<PyString>().map_err(PyErr::from)?);
    }
    if is_a(value, &UUID, "uuid", "UUID")? || is_a(value, &PATH, "pathlib", "PurePath")? {
        return text_of(&value.str()?);
    }
    if value.is_callable() && !value.is_instance_of::<PyType>() {
        return Ok(Dynamic::from(callable_pointer(value)?));
    }
    let name = value.get_type().fully_qualified_name()?;
    Err(ConvertError::new(Kind::Type, format!("a value of type {name} has no form in Rhai")))
}

fn range_error() -> ConvertError {
    ConvertError::new(Kind::Value, "only a range with step 1 and 64-bit ends has a form in Rhai")
}

fn same_number(number: Decimal, value: &Bound<'_, PyAny>) -> bool {
    number.into_pyobject(value.py()).and_then(|back| back.eq(value)).unwrap_or(false)
}

static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static ENUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static PATH: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Whether a value is of a class that is looked up on first use, to keep the import of this module fast.
fn is_a(
    value: &Bound<'_, PyAny>,
    class: &PyOnceLock<Py<PyType>>,
    module: &str,
    name: &str,
) -> PyResult<bool> {
    value.is_instance(class.import(value.py(), module, name)?)
}
