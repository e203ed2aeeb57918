//! How the process ends. Exit codes are stable; `docs/node.md` lists them.

use lockstep_chain::error::Fault;

/// Everything else that went wrong.
pub const FAILED: i32 = 1;
/// The command line is wrong.
pub const USAGE: i32 = 2;
/// CometBFT ended by itself.
pub const COMETBFT: i32 = 3;
/// A fault of this node: its disk, its state, a bug. It wrote nothing of the block at hand.
pub const FAULT: i32 = 70;
/// The genesis, the configuration or the environment is not usable as it is.
pub const CONFIG: i32 = 78;
/// `check` found something that does not hold.
pub const BROKEN: i32 = 10;

/// Ends the process with what went wrong in the log and on the standard error.
pub fn with(code: i32, words: &str) -> ! {
    tracing::error!(exit_code = code, "{words}");
    eprintln!("lockstepd: {words}");
    std::process::exit(code)
}

/// Ends the process because this node cannot go on. The other nodes can: nothing of this reaches
/// the chain.
pub fn fault(fault: &Fault) -> ! {
    let hint = match fault {
        Fault::Storage(words) if words.contains("hint:") => "",
        Fault::Storage(_) => {
            "\nhint: look for a full or failing disk; what was committed is safe, and the next start \
             continues from it"
        }
        Fault::Corrupt(_) => {
            "\nhint: the data folder is damaged; let the node sync into an empty one"
        }
        Fault::Invariant(_) => "\nhint: this is a bug; keep the data folder and report it",
    };
    with(FAULT, &format!("{fault}{hint}"))
}
