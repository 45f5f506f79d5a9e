//! xtask as a program, with a cargo that is a shell script: what it is asked is written down, nothing is built.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A folder with a cargo in it that answers `metadata`, writes down everything else, and then runs `body`.
struct FakeCargo {
    folder: PathBuf,
}

impl FakeCargo {
    fn new(test: &str, body: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the target directory is ours");
        let metadata = format!(
            r#"{{"target_directory":"{}","packages":[]}}"#,
            folder.join("target").display()
        );
        let script = format!(
            "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nif [ \"$1\" = metadata ]; then echo '{metadata}'; exit; fi\n\
             echo \"$@\" >> asked\necho \"$RUSTFLAGS|$CARGO_TARGET_DIR|$CARGO_PKG_NAME\" >> environment\n{body}\n"
        );
        let cargo = folder.join("cargo");
        fs::write(&cargo, script).expect("the folder is ours");
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        FakeCargo { folder }
    }

    fn xtask(&self, arguments: &[&str]) -> Command {
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        xtask
            .args(arguments)
            .env("CARGO", self.folder.join("cargo"))
            .env_remove("CARGO_TARGET_DIR");
        xtask
            .env("RUSTFLAGS", "-C debuginfo=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        xtask
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.xtask(arguments).output().expect("xtask was built with this test")
    }

    fn wrote(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }
}

impl Drop for FakeCargo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn sim_hands_on_its_options_and_the_last_line_is_the_simulators() {
    let cargo = FakeCargo::new("sim", "echo 6/6");
    let output = cargo.run(&["sim", "--seeds", "7", "--seed", "40", "--planted", "--", "--trace"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "6/6\n");
    let asked = cargo.wrote("asked");
    assert!(
        asked.contains("--release -p chat-testkit --features sim --bin sim"),
        "{asked}"
    );
    assert!(
        asked.trim_end().ends_with("-- --seeds 7 --seed 40 --planted --trace"),
        "{asked}"
    );
}

#[test]
fn planted_bugs_are_built_apart_and_flags_of_the_caller_stay() {
    let cargo = FakeCargo::new("planted", "");
    assert!(cargo.run(&["sim", "--planted"]).status.success());
    assert!(cargo.run(&["sim"]).status.success());
    let planted = format!(
        "-C debuginfo=0 --cfg chat_planted|{}|",
        cargo.folder.join("target/planted").display()
    );
    assert_eq!(
        cargo.wrote("environment").lines().collect::<Vec<_>>(),
        [&planted, "-C debuginfo=0||"]
    );
}

#[test]
fn bench_hands_on_its_name_and_options() {
    let cargo = FakeCargo::new("bench", "");
    assert!(
        cargo
            .run(&["bench", "fanout", "--quick", "--json", "--", "--connections", "9"])
            .status
            .success()
    );
    let asked = cargo.wrote("asked");
    assert!(
        asked.contains("-p benches --bin bench -- fanout --quick --json --connections 9"),
        "{asked}"
    );
}

#[test]
fn a_failing_child_is_a_failure_that_names_it() {
    let cargo = FakeCargo::new("fails", "exit 3");
    let output = cargo.run(&["bench", "fanout"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("exit status: 3"));
}

#[test]
fn told_to_stop_xtask_ends_its_children_and_theirs_first() {
    let cargo = FakeCargo::new("stop", "sleep 60 & touch alive; wait");
    let xtask = cargo
        .xtask(&["bench", "fanout"])
        .spawn()
        .expect("xtask was built with this test");
    until("the child runs", || cargo.folder.join("alive").exists());
    let asked = Instant::now();
    terminate(&xtask);
    // The output ends when the last process that holds it has ended: xtask, its child, and the child's `sleep`.
    let output = xtask.wait_with_output().expect("xtask is ours");
    assert_eq!(output.status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(20), "somebody lived on");
}

fn terminate(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("xtask is ours and not yet reaped");
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
