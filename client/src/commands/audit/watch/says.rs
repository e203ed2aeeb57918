//! What a watcher says: lines for people, or one JSON object a line.

use std::collections::BTreeSet;
use std::io::Write;

use lockstep_audit::play::Intent;
use lockstep_client::job;
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_vm::hash::Hash;
use serde_json::{Value, json};

use super::bench::WatchError;
use crate::console::note;

/// Says what happens, and counts it. What happens again and again is said once.
pub(super) struct Says {
    json: bool,
    out: Box<dyn Write + Send>,
    looked_at: u64,
    wrong: BTreeSet<(u64, Hash)>,
    /// Jobs with something that could not be done, and was not done since.
    failing: BTreeSet<(u64, &'static str)>,
    moves: u64,
    pub(super) said: BTreeSet<(u64, String)>,
    /// The last trouble with the node.
    trouble: String,
}

impl Says {
    pub(super) fn new(json: bool, out: Box<dyn Write + Send>) -> Self {
        Self {
            json,
            out,
            looked_at: 0,
            wrong: BTreeSet::new(),
            failing: BTreeSet::new(),
            moves: 0,
            said: BTreeSet::new(),
            trouble: String::new(),
        }
    }

    fn line(&mut self, what: &str, more: Value, words: &str) {
        let mut value = json!({ "event": what });
        if let (Value::Object(to), Value::Object(from)) = (&mut value, more) {
            to.extend(from);
        }
        let text = if self.json { value.to_string() } else { words.to_owned() };
        // A closed pipe (`| head`) is the reader's wish.
        let _ = writeln!(self.out, "{text}");
    }

    /// Says something about a job unless it was said before.
    fn once(&mut self, job: u64, what: &str, more: Value, words: &str) {
        if self.said.insert((job, words.to_owned())) {
            self.line(what, more, words);
        }
    }

    /// Of a job that has ended nothing is said any more.
    pub(super) fn forget(&mut self, job: u64) {
        self.said.retain(|(of, _)| *of != job);
    }

    pub(super) fn right(&mut self, job: u64, answer: &Hash) {
        self.looked_at += 1;
        let result = hex::encode(answer);
        let more = json!({ "job": job, "result_root": result, "right": true });
        self.line("recomputed", more, &format!("job {job}: right, {result}"));
    }

    /// An answer that is not what was recomputed.
    pub(super) fn wrong(&mut self, job: u64, answer: &Hash) {
        if self.wrong.insert((job, *answer)) {
            self.looked_at += 1;
            let result = hex::encode(answer);
            let more = json!({ "job": job, "result_root": result, "right": false });
            self.line("recomputed", more, &format!("job {job}: WRONG, {result}"));
        }
    }

    pub(super) fn moved(&mut self, job: u64, intent: &Intent, result: Result<(), WatchError>) {
        let mut more = json!({ "job": job, "move": intent.to_string() });
        match result {
            Ok(()) => {
                self.moves += 1;
                self.line("move", more, &format!("job {job}: {intent}"));
            }
            Err(error) => {
                let error = text(&error);
                more["error"] = error.clone().into();
                self.once(job, "move", more, &format!("job {job}: could not {intent}: {error}"));
            }
        }
    }

    pub(super) fn trial_ended(&mut self, job: &Job) {
        let (state, result) = (job::state(job.state()), hex::encode(&job.result_root));
        let more = json!({ "job": job.id, "state": state, "result_root": result });
        let words = format!("job {}: the trial is over, the job is {state}, {result}", job.id);
        self.line("trial_ended", more, &words);
    }

    /// An answer that was challenged from here, and stands.
    pub(super) fn survived(&mut self, job: u64) {
        let why = "its answer survived the challenge and is not challenged again; hint: this machine \
                   may be faulty, or was too slow: test its memory and its processor";
        self.failing.insert((job, "survived"));
        let words = format!("job {job}: {why}");
        self.once(job, "failed", json!({ "job": job, "error": why }), &words);
    }

    pub(super) fn delivered(&mut self, job: u64, result: Result<(), WatchError>) {
        let error = result.err().map(|error| text(&error));
        let more = json!({ "job": job, "error": error });
        match &error {
            None => self.line("delivered", more, &format!("job {job}: handed in the output")),
            Some(error) => {
                let words = format!("job {job}: could not hand in the output: {error}");
                self.once(job, "delivered", more, &words);
            }
        }
    }

    /// What was to be done (`recomputed`, `played`) could not be.
    pub(super) fn failed(&mut self, job: u64, what: &'static str, error: &WatchError) {
        self.failing.insert((job, what));
        let error = text(error);
        let words = format!("job {job}: not {what}: {error}");
        self.once(job, "failed", json!({ "job": job, "error": error }), &words);
    }

    /// What could not be done before was done.
    pub(super) fn done(&mut self, job: u64, what: &'static str) {
        self.failing.remove(&(job, what));
    }

    pub(super) fn waiting(&mut self, error: &WatchError) {
        let error = text(error);
        if self.trouble != error {
            note(&format!("waiting for the node: {error}"));
            self.trouble = error;
        }
    }

    /// Sums up; the exit code.
    pub(super) fn end(&mut self) -> u8 {
        let failing: BTreeSet<u64> = self.failing.iter().map(|(job, _)| *job).collect();
        let (looked_at, wrong) = (self.looked_at, self.wrong.len());
        let (failed, moves) = (failing.len(), self.moves);
        let more = json!({
            "recomputed": looked_at, "wrong": wrong, "failed": failed, "moves": moves,
        });
        let words = format!(
            "recomputed {looked_at} jobs, {wrong} answers wrong, {failed} failures, {moves} moves"
        );
        self.line("end", more, &words);
        match (wrong, failed) {
            (0, 0) => 0,
            (0, _) => 11,
            _ => 10,
        }
    }
}

/// An error in one line.
fn text(error: &WatchError) -> String {
    error.to_string().replace('\n', "; ")
}
