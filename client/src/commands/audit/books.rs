//! `lockstep audit supply|escrow|royalties|stake`.

use clap::Args;
use lockstep_audit::books::Books as Kept;
use lockstep_audit::books::statement::{Kind, Statement};
use lockstep_audit::replay::{self, Ended, Options};
use lockstep_audit::report::Verdict;
use lockstep_client::Result;

use super::{Chain, Output, apart, bar, refused};
use crate::cli::Globals;
use crate::console::{note, to_json};

#[derive(Debug, Args)]
pub(crate) struct Books {
    #[command(flatten)]
    chain: Chain,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(globals: &Globals, kind: Kind, arguments: Books) -> Result<u8> {
    let Books { chain, output } = arguments;
    let done = apart(move || statement(kind, &chain)).await?;
    let name = kind.name();
    match done {
        Ok((Ended { mut report, hint, .. }, statement)) => {
            report.audit = name;
            if let Some(hint) = hint {
                note(&format!("hint: {hint}"));
            }
            if report.verdict != Verdict::Difference
                && let Some(difference) = statement.difference()
            {
                report.differs(difference);
            }
            let shown: Vec<_> = statement.shown().collect();
            report.fact(name, to_json(&shown));
            report.fact("amounts_compared", statement.lines.len());
            note(&statement.table());
            output.show(globals, &report, None)
        }
        Err(stop) => refused(globals, name, stop, &output),
    }
}

fn statement(kind: Kind, chain: &Chain) -> lockstep_audit::Result<(Ended, Statement)> {
    let genesis = chain.genesis()?;
    let mut books = Kept::open(&genesis.app)?;
    let mut source = chain.source()?;
    let options = Options { to: chain.to, ..Options::default() };
    let bar = bar("books");
    let mut show = |progress: replay::Progress| {
        bar.set_length(progress.last);
        bar.set_position(progress.height);
    };
    let ended = replay::run(&genesis, source.as_mut(), &options, &mut [&mut books], &mut show)?;
    bar.finish_and_clear();
    let statement = ended.ledger.with_state(|state| books.statement(kind, state))?;
    Ok((ended, statement))
}
