//! Clients that nobody here wrote, each against a chat-server of its own.
//!
//! A script stands in `peers/LANGUAGE/`, gets the socket's URL as its argument and exits 0 on success. The library it
//! uses comes from its registry into `target/xtask/`, and is fetched again only when its list changes.

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child;
use crate::report::{Outcome, Stop};
use crate::workspace::Workspace;
use server::Server;

/// How long one script may take.
const SCRIPT_AT_MOST: Duration = Duration::from_secs(120);
/// How long a registry may take.
const FETCH_AT_MOST: Duration = Duration::from_secs(300);

/// Python's `websockets`, in a private virtual environment.
pub fn python(workspace: &Workspace, server: &Path) -> Outcome {
    let scripts = workspace.root.join("peers/python");
    let requirements = scripts.join("requirements.txt");
    need(
        "python3",
        "install Python 3.10 or newer, for example `apt-get install python3 python3-venv`",
    )?;
    let home = workspace.temporary("peers/python")?;
    let python = home.join("venv/bin/python");
    fetch_once(&home, &[&requirements], || {
        need_venv()?;
        child::run(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(home.join("venv")),
            Some(FETCH_AT_MOST),
        )?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements);
        child::run(&mut pip, Some(FETCH_AT_MOST))
    })?;
    let mut script = Command::new(&python);
    script
        .arg(scripts.join("chat_peer.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1");
    talk(server, &home, script)
}

/// Node's `ws`. The script is copied beside the fetched packages, because imports are looked up from where it lies.
pub fn node(workspace: &Workspace, server: &Path) -> Outcome {
    let scripts = workspace.root.join("peers/node");
    need("node", "install Node 20 or newer, for example from https://nodejs.org")?;
    need("npm", "install npm, for example `apt-get install npm`")?;
    let home = workspace.temporary("peers/node")?;
    for file in ["package.json", "package-lock.json", "chat_peer.mjs"] {
        fs::copy(scripts.join(file), home.join(file))
            .map_err(|error| Stop::failed(format!("peers/node/{file} cannot be copied: {error}")))?;
    }
    fetch_once(
        &home,
        &[&scripts.join("package.json"), &scripts.join("package-lock.json")],
        || {
            let mut npm = Command::new("npm");
            npm.current_dir(&home)
                .args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]);
            child::run(&mut npm, Some(FETCH_AT_MOST))
        },
    )?;
    let mut script = Command::new("node");
    script.arg(home.join("chat_peer.mjs"));
    talk(server, &home, script)
}

/// Starts a server, lets the script talk to it, ends the server; when something fails, shows what the server said.
fn talk(server: &Path, home: &Path, mut script: Command) -> Outcome {
    let log = home.join("server.log");
    let outcome = Server::start(server, &log).and_then(|server| {
        let talked = child::run(script.arg(&server.socket_url), Some(SCRIPT_AT_MOST));
        talked.and(server.end())
    });
    if outcome.is_err() {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let from = said.lines().count().saturating_sub(40);
        said.lines().skip(from).for_each(|line| eprintln!("server: {line}"));
    }
    outcome
}

fn need(program: &str, how: &str) -> Outcome {
    if child::succeeds(Command::new(program).arg("--version")) {
        return Ok(());
    }
    Err(Stop::failed(format!(
        "{program} is missing; {how}, or run with --embedded"
    )))
}

/// Debian cuts the `venv` module out of Python; as root it can be had at once.
fn need_venv() -> Outcome {
    let has_venv = || child::succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"]));
    if has_venv() {
        return Ok(());
    }
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--no-install-recommends", "python3-venv"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    // Without root it fails, and the sentence below says what is missing.
    let _ = child::run(&mut install, Some(FETCH_AT_MOST));
    if has_venv() {
        return Ok(());
    }
    Err(Stop::failed(
        "Python's venv module is missing; `apt-get install python3-venv`, or run with --embedded",
    ))
}

/// Runs `fetch` unless the last success was for the same lists.
fn fetch_once(home: &Path, lists: &[&PathBuf], fetch: impl FnOnce() -> Outcome) -> Outcome {
    let mut wanted = String::new();
    for list in lists {
        wanted += &fs::read_to_string(list)
            .map_err(|error| Stop::failed(format!("{} is unreadable: {error}", list.display())))?;
    }
    let stamp = home.join("fetched");
    if fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == wanted) {
        return Ok(());
    }
    let _ = fs::remove_file(&stamp);
    fetch()?;
    Ok(fs::write(&stamp, wanted)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_fetched_once_and_again_when_it_changes_or_failed() {
        let home = std::env::temp_dir().join(format!("xtask-fetch-{}", std::process::id()));
        fs::create_dir_all(&home).expect("the temporary folder is writable");
        let list = home.join("list");
        let fetched = |versions: &str, outcome: Outcome| {
            fs::write(&list, versions).expect("the folder is ours");
            let mut asked = false;
            let _ = fetch_once(&home, &[&list], || {
                asked = true;
                outcome
            });
            asked
        };
        assert!(fetched("1", Err(Stop::failed("no network"))));
        assert!(fetched("1", Ok(())), "a failure is tried again");
        assert!(!fetched("1", Ok(())));
        assert!(fetched("2", Ok(())));
        fs::remove_dir_all(&home).expect("the folder is ours");
    }

    #[test]
    fn a_missing_program_is_an_error_that_says_how_to_get_it() {
        let stop = need("no-such-program-anywhere", "install it").expect_err("it does not exist");
        assert!(
            stop.to_string()
                .contains("no-such-program-anywhere is missing; install it"),
            "{stop}"
        );
    }
}
