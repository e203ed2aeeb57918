use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use lockstep_proto::lockstep::chain::v1::Totals;
use lockstep_vm::artefact::{Description, Writer};
use lockstep_vm::program::{self, Index, Input, Op, Tensor};
use lockstep_vm::result::input_bytes;

use super::*;

/// A model that looks up rows of a table of small numbers from `first` on, in a file.
fn model(folder: &Path, first: u8) -> (PathBuf, Version) {
    let program = program::Program {
        format: program::FORMAT,
        input: Input::TokenIds { vocabulary: 4, tokens_max: 8 },
        tensors: vec![Tensor::F32 { rows: 4, cols: 2 }],
        ops: vec![Op::Embed { table: 0, index: Index::Tokens }, Op::PoolMean { x: 0 }],
        output: 1,
    };
    let description = Description { family: "test".to_owned(), attachments: Vec::new() };
    let path = folder.join(format!("{first}.lockstep"));
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = Writer::new(file, program, description).unwrap();
    let values: Vec<f32> = (first..first + 8).map(f32::from).collect();
    writer.table(&values, 2).unwrap();
    let (_, manifest) = writer.finish().unwrap();
    let artefact_root = manifest.root().to_vec();
    (path, Version { artefact_root, output_values: 2, ..Version::default() })
}

fn job() -> Job {
    let input = input_bytes(&[0, 3, 1]);
    Job { id: 1, input_root: input_root(&input).to_vec(), input, ..Job::default() }
}

/// A blob service that takes questions and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn no_more_models_are_in_memory_than_allowed_and_one_that_is_given_up_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut holdings = Holdings::new("http://127.0.0.1:9", Some(1)).unwrap();
    let versions: Vec<_> = (0..5).map(|at| model(folder.path(), 10 * at)).collect();
    for (path, _) in &versions {
        holdings.add_artefact(path).unwrap();
    }
    let run = |at: usize| holdings.run(&versions[at].1, &job());
    let in_memory = || lock(&holdings.programs).len();
    for at in 0..5 {
        run(at).unwrap();
        assert!(in_memory() <= PROGRAMS_KEPT);
    }
    let mut kept: Vec<Run> = (0..4).map(|at| run(at).unwrap()).collect();
    // One that is there serves again, another has no room.
    run(0).unwrap();
    let error = run(4).err().unwrap();
    assert!(error.to_string().contains("in use"), "{error}");
    kept.remove(1);
    run(4).unwrap();
    assert!(in_memory() <= PROGRAMS_MAX);
}

#[test]
fn a_model_that_does_not_come_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (path, here) = model(folder.path(), 0);
    let (_listener, url) = silent();
    let mut holdings = Holdings::new(&url, Some(1)).unwrap();
    holdings.add_artefact(&path).unwrap();
    let holdings = Arc::new(holdings);
    let absent = Version { artefact_root: vec![7; 32], ..here.clone() };
    let waits = Arc::clone(&holdings);
    // It ends with the test.
    std::thread::spawn(move || drop(waits.run(&absent, &job())));
    while lock(&holdings.programs).is_empty() {
        std::thread::yield_now();
    }
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(holdings.run(&here, &job()).map(|run| run.answer())));
    ended.recv_timeout(Duration::from_secs(10)).expect("it waits for the other").unwrap();
}

#[test]
fn a_second_run_is_made_from_the_files_and_not_from_the_model_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (path, version) = model(folder.path(), 0);
    let mut holdings = Holdings::new("http://127.0.0.1:9", Some(1)).unwrap();
    holdings.add_artefact(&path).unwrap();
    let first = holdings.run(&version, &job()).unwrap().answer();
    assert_eq!(holdings.confirm(&version, &job(), &first).unwrap(), first);
    assert_eq!(lock(&holdings.programs).len(), 1);
    // A model in memory that gives something else is used no more.
    let wrong = Answer { result_root: [9; 32], ..first };
    assert_eq!(holdings.confirm(&version, &job(), &wrong).unwrap(), first);
    assert!(lock(&holdings.programs).is_empty());
    holdings.run(&version, &job()).unwrap();
    std::fs::remove_file(path).unwrap();
    holdings.run(&version, &job()).unwrap();
    holdings.confirm(&version, &job(), &first).unwrap_err();
}

#[test]
fn a_job_that_could_not_be_run_is_not_counted_and_a_signal_ends_it() {
    let mut state = MemoryState::default();
    let totals = Totals { jobs: 3, ..Totals::default() };
    state.0.insert(TOTALS.key(&()), totals.encode_to_vec());
    state.0.insert(VERSIONS.key(&1), Version { id: 1, ..Version::default() }.encode_to_vec());
    for id in 1..=3 {
        let mut job = Job { id, version: 1, input: vec![1; 4], ..Job::default() };
        (job.input_root, job.result_root) = (input_root(&job.input).to_vec(), vec![7; 32]);
        job.set_state(JobState::Final);
        state.0.insert(JOBS.key(&id), job.encode_to_vec());
    }
    for (stopped, why) in [(false, "blobs"), (true, "interrupted")] {
        let stop = AtomicBool::new(stopped);
        let mut report = Report::new("replay", "net");
        // Port 9 of loopback: nobody has the artefact.
        let holdings = Holdings::new("http://127.0.0.1:9", Some(1)).unwrap();
        let pick = Pick { percent: 100, last_block: &[1; 32], stop: &stop };
        let ended = jobs(&mut report, &state, pick, &holdings, &mut |_, _| {});
        let Err(Stop::Incomplete { what, .. }) = ended else { panic!("{ended:?}") };
        assert!(what.contains(why) && !what.contains("127.0.0.1"), "{what}");
        assert_eq!(report.facts["jobs_recomputed"], 0);
    }
}

#[test]
fn a_job_gives_its_result_and_where_it_was_delivered_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let (path, version) = model(folder.path(), 0);
    let mut holdings = Holdings::new("http://127.0.0.1:9", Some(1)).unwrap();
    holdings.add_artefact(&path).unwrap();
    let run = holdings.run(&version, &job()).unwrap();
    let result_root = run.answer().result_root.to_vec();
    // Not delivered yet, and delivered.
    let open = Job { result_root, ..job() };
    super::job(&holdings, &version, &open).unwrap();
    let right = Job { delivered_height: 9, output: run.output().to_vec(), ..open };
    super::job(&holdings, &version, &right).unwrap();
    let with = |change: &dyn Fn(&mut Job)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        match super::job(&holdings, &version, &wrong) {
            Err(Stop::Difference(found)) => found.what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(&|job| job.result_root[3] ^= 1), "the job's result");
    assert_eq!(with(&|job| job.output[3] ^= 1), "the job's output");
    assert_eq!(with(&|job| job.output.push(0)), "the job's output");
}
