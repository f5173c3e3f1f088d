//! What Rhai costs without any of this crate: the comparison of `benchmarks/rhai.py`.
//!
//! Reads a script from the file that is named, evaluates it as often as asked, and prints the fastest
//! time in seconds. Its engine has the same limits and a progress callback, as any program must have
//! that wants to stop a script.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine};

static STOP: AtomicBool = AtomicBool::new(false);

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(times)) = (args.next(), args.next()) else {
        eprintln!("usage: plain SCRIPT TIMES [--no-progress]");
        std::process::exit(2);
    };
    let options: Vec<String> = args.collect();
    let mut engine = Engine::new_raw();
    engine.register_global_module(StandardPackage::new().as_shared_module());
    engine.set_max_call_levels(64).set_max_expr_depths(64, 32);
    if !options.iter().any(|it| it == "--no-progress") {
        engine.on_progress(|_| STOP.load(Ordering::Relaxed).then_some(Dynamic::UNIT));
    }
    if options.iter().any(|it| it == "--slow-operators") {
        engine.set_fast_operators(false);
    }
    let text = std::fs::read_to_string(path).expect("the script can be read");
    let ast = engine.compile(text).expect("the script parses");
    let times: u32 = times.parse().expect("TIMES is a number");
    let mut best = f64::INFINITY;
    for _ in 0..times {
        let start = Instant::now();
        let _value: Dynamic = engine.eval_ast(&ast).expect("the script runs");
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{best:.9}");
}
