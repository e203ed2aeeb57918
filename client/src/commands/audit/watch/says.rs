//! What a watcher says: lines for people, or one JSON object a line.

use std::collections::BTreeSet;
use std::io::Write as _;

use lockstep_audit::play::Intent;
use lockstep_client::job;
use lockstep_proto::lockstep::job::v1::Job;
use serde_json::{Value, json};

use super::bench::WatchError;
use crate::console::note;

/// Says what happens, and counts it.
pub(super) struct Says {
    json: bool,
    looked_at: u64,
    wrong: BTreeSet<(u64, Vec<u8>)>,
    failed: u64,
    moves: u64,
    /// The last trouble with the node, which is said once.
    trouble: String,
}

impl Says {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            looked_at: 0,
            wrong: BTreeSet::new(),
            failed: 0,
            moves: 0,
            trouble: String::new(),
        }
    }

    fn line(&self, what: &str, more: Value, words: &str) {
        let mut value = json!({ "event": what });
        if let (Value::Object(to), Value::Object(from)) = (&mut value, more) {
            to.extend(from);
        }
        let text = if self.json { value.to_string() } else { words.to_owned() };
        // A closed pipe (`| head`) is the reader's wish.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    pub(super) fn looked(&mut self, job: &Job, right: bool) {
        self.looked_at += 1;
        if !right {
            self.wrong(job.id, &job.result_root);
            return;
        }
        let result = hex::encode(&job.result_root);
        let more = json!({ "job": job.id, "result_root": result, "right": true });
        self.line("recomputed", more, &format!("job {}: right, {result}", job.id));
    }

    /// An answer that is not what was recomputed.
    pub(super) fn wrong(&mut self, job: u64, answer: &[u8]) {
        if self.wrong.insert((job, answer.to_vec())) {
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
                more["error"] = error.to_string().into();
                self.line("move", more, &format!("job {job}: could not {intent}: {error}"));
            }
        }
    }

    pub(super) fn trial_ended(&self, job: &Job) {
        let (state, result) = (job::state(job.state()), hex::encode(&job.result_root));
        let more = json!({ "job": job.id, "state": state, "result_root": result });
        let words = format!("job {}: the trial is over, the job is {state}, {result}", job.id);
        self.line("trial_ended", more, &words);
    }

    pub(super) fn delivered(&self, job: u64, result: Result<(), WatchError>) {
        let error = result.err().map(|error| error.to_string());
        let words = match &error {
            None => format!("job {job}: handed in the output"),
            Some(error) => format!("job {job}: could not hand in the output: {error}"),
        };
        self.line("delivered", json!({ "job": job, "error": error }), &words);
    }

    pub(super) fn job_failed(&mut self, job: u64, error: &WatchError) {
        self.failed += 1;
        let words = format!("job {job}: not recomputed: {error}");
        self.line("failed", json!({ "job": job, "error": error.to_string() }), &words);
    }

    pub(super) fn failed(&mut self, error: &WatchError) {
        let error = error.to_string();
        if self.trouble != error {
            note(&format!("waiting for the node: {error}"));
            self.trouble = error;
        }
    }

    /// Sums up; the exit code.
    pub(super) fn end(&self) -> u8 {
        let (looked_at, wrong) = (self.looked_at, self.wrong.len());
        let (failed, moves) = (self.failed, self.moves);
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
