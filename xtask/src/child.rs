//! The only place that starts processes, and that ends them.
//!
//! Every child leads a process group of its own. The groups that are alive are known here, and exactly those are ended:
//! when a bound is passed, when a [`Running`] is dropped, and when xtask itself is told to stop.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::report::{Outcome, Stop};

/// How long a child may take to end after it was asked, before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// The groups that are alive, by their leader's pid.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn groups() -> std::sync::MutexGuard<'static, BTreeSet<u32>> {
    GROUPS
        .lock()
        .expect("the lock is never poisoned: nothing panics under it")
}

/// Ends every child and then xtask on Ctrl-C, SIGTERM and SIGHUP: children in groups of their own would not hear it.
pub fn end_all_when_told_to_stop() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        // Held to the end, so that nothing starts meanwhile.
        let groups = groups();
        groups.iter().for_each(|group| signal(*group, Signal::Terminate));
        if !groups.is_empty() {
            thread::sleep(Duration::from_millis(500));
        }
        // A leader may have something to put in order.
        let end = Instant::now() + GRACE;
        while groups.iter().any(|leader| lives(*leader)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        groups.iter().for_each(|group| signal(*group, Signal::Kill));
        std::process::exit(130);
    })
}

/// A child that is alive; dropping it ends it and its group.
pub struct Running {
    child: Child,
    shown: String,
}

/// Starts a command in a group of its own, without standard input.
pub fn start(command: &mut Command) -> Result<Running, Stop> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let shown = show(command);
    // Under the lock, so that a child is known before anybody can ask to end all.
    let mut groups = groups();
    let child = command
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| Stop::failed(format!("`{shown}` does not start: {error}")))?;
    groups.insert(child.id());
    Ok(Running { child, shown })
}

impl Running {
    /// Waits for the end, at most for the bound; `None` when the bound passed and the child still runs.
    pub fn wait_at_most(&mut self, bound: Option<Duration>) -> io::Result<Option<ExitStatus>> {
        let Some(bound) = bound else {
            return self.child.wait().map(Some);
        };
        let end = Instant::now() + bound;
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(Some(status)),
                None if Instant::now() >= end => return Ok(None),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Asks the child itself, and not its group, to end: SIGTERM by its pid.
    pub fn ask_to_end(&self) {
        #[cfg(unix)]
        {
            let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = self.child.id();
        if self.is_running() {
            signal(group, Signal::Terminate);
            if !matches!(self.wait_at_most(Some(GRACE)), Ok(Some(_))) {
                signal(group, Signal::Kill);
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        groups().remove(&group);
    }
}

/// Runs a command to its end; a status other than success and a passed bound are failures that name it.
pub fn run(command: &mut Command, bound: Option<Duration>) -> Outcome {
    let status = ends(command, bound)?;
    match status.success() {
        true => Ok(()),
        false => Err(Stop::failed(format!("`{}`: {status}", show(command)))),
    }
}

/// Runs a command to its end, however that is; a passed bound is a failure that names it.
pub fn ends(command: &mut Command, bound: Option<Duration>) -> Result<ExitStatus, Stop> {
    let mut running = start(command)?;
    eprintln!("$ {}", running.shown);
    running.wait_at_most(bound)?.ok_or_else(|| {
        let seconds = bound.unwrap_or_default().as_secs();
        Stop::failed(format!(
            "`{}` took longer than {seconds} s and was ended",
            running.shown
        ))
    })
}

/// Runs a command quietly and says whether it succeeded; a command that does not exist did not.
pub fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    start(command).is_ok_and(|mut running| matches!(running.wait_at_most(None), Ok(Some(status)) if status.success()))
}

/// The output of a short command that must succeed.
pub fn output(command: &mut Command) -> Result<Vec<u8>, Stop> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Stop::failed(format!("`{shown}` does not start: {error}")))?;
    if !output.status.success() {
        return Err(Stop::failed(format!("`{shown}`: {}", output.status)));
    }
    Ok(output.stdout)
}

fn show(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words: Vec<_> = std::iter::once(name)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

enum Signal {
    Terminate,
    Kill,
}

#[cfg(unix)]
fn signal(group: u32, signal: Signal) {
    let signal = match signal {
        Signal::Terminate => nix::sys::signal::Signal::SIGTERM,
        Signal::Kill => nix::sys::signal::Signal::SIGKILL,
    };
    // A group that ended meanwhile is what was wanted.
    let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group.cast_signed()), signal);
}

/// Whether a child of ours has not ended yet; one that has stays for whoever waits for it.
#[cfg(unix)]
fn lives(child: u32) -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let pid = nix::unistd::Pid::from_raw(child.cast_signed());
    waitid(Id::Pid(pid), flags) == Ok(WaitStatus::StillAlive)
}

#[cfg(not(unix))]
fn lives(_child: u32) -> bool {
    false
}

#[cfg(not(unix))]
fn signal(_group: u32, _signal: Signal) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_passes_its_bound_is_ended_with_its_group() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & sleep 600"]);
        let start = Instant::now();
        let stop = run(&mut shell, Some(Duration::from_millis(100))).expect_err("the bound passes first");
        assert!(stop.to_string().contains("took longer"), "{stop}");
        assert!(start.elapsed() < GRACE, "SIGTERM was enough");
    }

    #[test]
    fn a_status_other_than_success_names_the_command() {
        let stop = run(Command::new("sh").args(["-c", "exit 3"]), None).expect_err("status 3 is no success");
        assert!(stop.to_string().contains("sh -c exit 3"), "{stop}");
    }

    #[test]
    fn a_command_that_does_not_exist_does_not_succeed() {
        assert!(!succeeds(&mut Command::new("no-such-program-anywhere")));
    }
}
