//! `Run`: one evaluation, detached from the interpreter from start to end.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rhai::{Dynamic, EvalAltResult, Scope};

use crate::cache::{Code, Compiled};
use crate::convert::to_python;
use crate::engine::EngineCore;
use crate::errors;
use crate::local;
use crate::state::RunState;
use crate::timer;

type Call = Option<(String, Vec<Dynamic>)>;
/// How an evaluation came back: a value, Rhai's error, or what it panicked with.
type Outcome = Result<Result<Dynamic, Box<EvalAltResult>>, Box<dyn Any + Send>>;

enum Phase {
    New(Scope<'static>, Call),
    Running(ThreadId),
    Over(Result<Py<PyAny>, PyErr>, Scope<'static>),
}

/// One run of a script.
#[pyclass(frozen, module = "herojobs_rhai")]
pub struct Run {
    state: Arc<RunState>,
    deadline: Option<f64>,
    phase: Mutex<Phase>,
    over: Condvar,
}

impl Run {
    pub fn new(
        engine: Arc<EngineCore>,
        script: Arc<Compiled>,
        scope: Scope<'static>,
        call: Call,
        deadline: Option<f64>,
    ) -> Self {
        Self {
            state: Arc::new(RunState::new(engine, script)),
            deadline,
            phase: Mutex::new(Phase::New(scope, call)),
            over: Condvar::new(),
        }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evaluates at the first call; later ones give the same value or error.
    pub fn evaluate(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (mut scope, call) = {
            let mut phase = self.phase();
            match &*phase {
                Phase::Over(result, _) => return told(py, result),
                Phase::Running(thread) if *thread == thread::current().id() => {
                    return Err(PyRuntimeError::new_err("the run is being evaluated by this very thread"));
                }
                Phase::Running(_) => {
                    drop(phase);
                    return self.wait(py);
                }
                Phase::New(..) => {}
            }
            match std::mem::replace(&mut *phase, Phase::Running(thread::current().id())) {
                Phase::New(scope, call) => (scope, call),
                _ => unreachable!("seen to be new"),
            }
        };
        let outcome = py.detach(|| self.work(&mut scope, call));
        let result = self.conclude(py, outcome, &scope);
        let given = told(py, &result);
        *self.phase() = Phase::Over(result, scope);
        self.over.notify_all();
        given
    }

    /// Waits for the thread that evaluates.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        py.detach(|| {
            let mut phase = self.phase();
            while matches!(*phase, Phase::Running(_)) {
                phase = self.over.wait(phase).unwrap_or_else(PoisonError::into_inner);
            }
        });
        match &*self.phase() {
            Phase::Over(result, _) => told(py, result),
            _ => unreachable!("waited until it was over"),
        }
    }

    fn work(&self, scope: &mut Scope<'static>, call: Call) -> Outcome {
        let state = &self.state;
        let engine = &state.engine;
        state.begin();
        let _deadline = self.deadline.and_then(|seconds| {
            let when = Instant::now().checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
            Some(timer::stop_at(when, state))
        });
        state.script.lend(|| engine.again(&state.script), |code| self.run_code(code, scope, call))
    }

    fn run_code(&self, code: &Code, scope: &mut Scope<'static>, call: Call) -> Outcome {
        let state = &self.state;
        let rhai = &state.engine.rhai;
        let _guard = local::enter(state, state.engine.limits.memory as i64);
        catch_unwind(AssertUnwindSafe(|| {
            if state.ended() {
                return Err(state.terminated());
            }
            if let Some((name, args)) = call {
                return rhai.call_fn(scope, &code.ast, name, args);
            }
            #[cfg(feature = "grain")]
            if let Some(program) = &code.program {
                return rhai::grain::Vm::new(rhai).eval_with_callbacks(scope, program);
            }
            rhai.eval_ast_with_scope(scope, &code.ast)
        }))
    }

    fn conclude(&self, py: Python<'_>, outcome: Outcome, scope: &Scope) -> Result<Py<PyAny>, PyErr> {
        let state = &*self.state;
        let end = state.finish();
        match (outcome, end) {
            (Err(panic), _) => {
                let message = format!("Rhai panicked: {}", panic_text(&*panic));
                Err(errors::other(py, state, "panic", message))
            }
            (Ok(outcome), Some(end)) => Err(errors::ended(py, state, end, outcome.err().map(|error| *error))),
            (Ok(Err(error)), None) => Err(errors::failed(py, state, *error, Some(scope))),
            (Ok(Ok(value)), None) => match to_python(py, &value) {
                Ok(value) => Ok(value.unbind()),
                Err(error) => Err(errors::other(py, state, "conversion", error.message("result"))),
            },
        }
    }
}

fn told(py: Python<'_>, result: &Result<Py<PyAny>, PyErr>) -> PyResult<Py<PyAny>> {
    match result {
        Ok(value) => Ok(value.clone_ref(py)),
        Err(error) => Err(error.clone_ref(py)),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[pymethods]
impl Run {
    /// Evaluates on this thread and returns the value; raises `RhaiError`.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.evaluate(py)
    }

    /// Ends the run from any thread; true if this is what ends it.
    #[pyo3(signature = (reason="stopped"))]
    fn stop(&self, reason: &str) -> bool {
        self.state.stop(reason)
    }

    /// Everything printed so far.
    #[getter]
    fn output(&self) -> String {
        self.state.output().text().to_owned()
    }

    /// What was printed since the last call.
    fn drain_output(&self) -> String {
        self.state.output().drain()
    }

    /// Operations made so far.
    #[getter]
    fn operations(&self) -> u64 {
        self.state.operations()
    }

    /// Whether the result is there.
    #[getter]
    fn over(&self) -> bool {
        matches!(*self.phase(), Phase::Over(..))
    }

    /// The variables: as given before the run, as the script left them after it.
    #[getter]
    fn scope<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        // A copy: converting may run Python code, during which the lock must not be held.
        let scope = match &*self.phase() {
            Phase::New(scope, _) | Phase::Over(_, scope) => scope.clone(),
            Phase::Running(_) => {
                return Err(PyRuntimeError::new_err("scope: the script has its variables while it runs"));
            }
        };
        let dict = PyDict::new(py);
        for (name, _, value) in scope.iter_raw() {
            let value =
                to_python(py, value).map_err(|error| error.into_pyerr(&format!("scope[{name:?}]")))?;
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }

    fn __repr__(&self) -> String {
        let phase = match &*self.phase() {
            Phase::New(..) => "new",
            Phase::Running(_) => "running",
            Phase::Over(Ok(_), _) => "done",
            Phase::Over(Err(_), _) => "failed",
        };
        format!("<Run of {:?}, {phase}>", self.state.script.name)
    }
}
