//! `import`: scripts of one folder, never anything outside it.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use crate::cache::Compiled;
use crate::engine;
use crate::local;

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// A compiled module and what its file looked like when it was read.
struct Cached {
    size: u64,
    modified: Option<SystemTime>,
    compiled: Arc<Compiled>,
}

/// Finds modules below `root`.
pub struct Folder {
    root: PathBuf,
    max_script_size: usize,
    cache: Mutex<HashMap<PathBuf, Cached>>,
}

impl Folder {
    /// Takes the folder with its links resolved.
    pub fn new(root: PathBuf, max_script_size: usize) -> Self {
        Self { root, max_script_size, cache: Mutex::default() }
    }

    /// The file of a module: one answer for all that isn't there, so that no script learns what is.
    fn find(&self, path: &str) -> Option<PathBuf> {
        let relative = Path::new(path);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !plain || path.ends_with('/') || path.contains('\0') {
            return None;
        }
        let file = fs::canonicalize(self.root.join(format!("{path}.rhai"))).ok()?;
        (file.starts_with(&self.root) && file.is_file()).then_some(file)
    }

    fn compile(&self, engine: &Engine, path: &str, file: &Path, pos: Position) -> Outcome<Arc<Compiled>> {
        let not_found = || Box::new(EvalAltResult::ErrorModuleNotFound(path.into(), pos));
        let inside = |error| Box::new(EvalAltResult::ErrorInModule(path.into(), error, pos));
        let facts = fs::metadata(file).map_err(|_| not_found())?;
        let (size, modified) = (facts.len(), facts.modified().ok());
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(cached) = cache.get(file).filter(|it| (it.size, it.modified) == (size, modified)) {
                return Ok(Arc::clone(&cached.compiled));
            }
        }
        let text = fs::read_to_string(file).map_err(|error| inside(error.to_string().into()))?;
        let compiled = engine::compile(engine, path, text, self.max_script_size, false)
            .map_err(|error| inside(error.into()))?;
        let compiled = Arc::new(compiled);
        let cached = Cached { size, modified, compiled: Arc::clone(&compiled) };
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_path_buf(), cached);
        Ok(compiled)
    }

    /// The text of a module that was imported, to show the line of an error.
    pub fn text(&self, path: &str) -> Option<Arc<Compiled>> {
        let file = self.find(path)?;
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(&file).map(|cached| Arc::clone(&cached.compiled))
    }
}

/// The folder as Rhai asks for it; shared with the engine, which shows lines of modules in errors.
pub struct Resolver(pub Arc<Folder>);

impl ModuleResolver for Resolver {
    /// A module is evaluated once a run, in a scope of its own.
    fn resolve(
        &self,
        engine: &Engine,
        _: Option<&str>,
        path: &str,
        pos: Position,
    ) -> Outcome<Shared<Module>> {
        let not_found = || Box::new(EvalAltResult::ErrorModuleNotFound(path.into(), pos));
        let run = local::current().ok_or_else(not_found)?;
        let file = self.0.find(path).ok_or_else(not_found)?;
        {
            let mut imports = run.imports();
            if let Some(module) = imports.loaded.get(&file) {
                return Ok(Arc::clone(module));
            }
            if imports.chain.iter().any(|importing| importing == path) {
                let chain = imports.chain.join(" -> ");
                let told = format!("modules import each other: {chain} -> {path}");
                return Err(Box::new(EvalAltResult::ErrorRuntime(told.into(), pos)));
            }
            imports.count += 1;
            if imports.count > run.engine.limits.max_modules {
                return Err(Box::new(EvalAltResult::ErrorTooManyModules(pos)));
            }
            imports.chain.push(path.to_owned());
        }
        let module = self.0.compile(engine, path, &file, pos).and_then(|compiled| {
            Module::eval_ast_as_new(Scope::new(), &compiled.code.ast, engine).map_err(|error| {
                // What ends a run must not be caught by the script that imports.
                if error.is_system_exception() && !matches!(*error, EvalAltResult::ErrorParsing(..)) {
                    return error;
                }
                Box::new(EvalAltResult::ErrorInModule(path.into(), error, pos))
            })
        });
        let mut imports = run.imports();
        imports.chain.pop();
        let module: Shared<Module> = module?.into();
        imports.loaded.insert(file, Arc::clone(&module));
        Ok(module)
    }
}

/// Without a folder nothing is found.
pub struct NoModules;

impl ModuleResolver for NoModules {
    fn resolve(&self, _: &Engine, _: Option<&str>, path: &str, pos: Position) -> Outcome<Shared<Module>> {
        Err(Box::new(EvalAltResult::ErrorModuleNotFound(path.into(), pos)))
    }
}
