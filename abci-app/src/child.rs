//! Child processes that never outlive this one, even where it is killed with -9.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

/// The hidden command that [`Child::spawn`] runs lockstepd with.
pub const COMMAND: &str = "as-child-of";

/// A log that is longer is set aside when the next process starts.
const LOG_BYTES_MAX: u64 = 64 << 20;

const POLL: Duration = Duration::from_millis(20);

/// A running child process.
#[derive(Debug)]
pub struct Child {
    /// What it is, for messages.
    pub name: &'static str,
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts a program whose output goes to `log`. The kernel kills it when the calling thread
    /// ends, so call this on the main thread.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(
        name: &'static str,
        program: &Path,
        arguments: &[String],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let file = open_log(log).with_context(|| format!("cannot write {}", log.display()))?;
        let own = std::env::current_exe().context("where is lockstepd itself?")?;
        let process = Command::new(own)
            .arg(COMMAND)
            .arg(std::process::id().to_string())
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Ctrl-c reaches the parent alone, which stops its children in their order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        Ok(Self { name, process, log: log.to_owned() })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended; none while it runs.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Asks it to end, waits for at most `limit`, then kills it.
    pub fn stop(&mut self, limit: Duration) {
        let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) else { return };
        if matches!(self.ended(), Ok(Some(_))) {
            return;
        }
        let _ = kill_process(pid, Signal::TERM);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if matches!(self.ended(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(POLL);
        }
        tracing::warn!("{} did not end within {limit:?}: killed", self.name);
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The last lines of its log, for a message.
    #[must_use]
    pub fn last_words(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(8).collect();
        let lines: Vec<_> = lines.into_iter().rev().map(|line| format!("  {line}")).collect();
        lines.join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(10));
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::fs::metadata(path).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("old.log"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// What the hidden command does: asks the kernel for a death with the parent, then becomes the
/// program. Returns only where that fails.
#[must_use]
pub fn become_child(parent: i32, program: &Path, arguments: &[String]) -> anyhow::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return anyhow::Error::new(error).context("cannot tie this process to its parent");
    }
    // The parent may have died before the line above.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        return anyhow::anyhow!("the parent process {parent} is gone");
    }
    let error = Command::new(program).args(arguments).exec();
    anyhow::Error::new(error).context(format!("cannot run {}", program.display()))
}
