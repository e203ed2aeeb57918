//! `lockstep`: the command line of the chain.

mod cli;
mod commands;
mod console;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too. Code 2 is for what the chain refused.
            let code = u8::from(error.use_stderr());
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let json = cli.globals.json;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli)),
        Err(cause) => Err(lockstep_client::Error::usage(
            format!("cannot start: {cause}"),
            "are there too many processes or open files?",
        )),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            console::complain(&error, json);
            ExitCode::from(error.exit_code())
        }
    }
}
