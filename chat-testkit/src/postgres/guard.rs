//! Ends a server whose owner was killed: by SIGKILL, by Ctrl-C, by a test runner that had waited long enough.
//!
//! A shell reads from a pipe that only the owner holds. However the owner ends, the pipe ends with it; unless the owner
//! has said that everything is in order, the shell then ends the server and removes its directory. It leads a process
//! group of its own, so that what ends the owner's group does not end the guard.

use super::{PostgresError, system};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The server is the process in the cluster's lock file, if it still stands in the cluster's directory: the number alone
/// might have gone to somebody else. Where there is no `/proc`, the server ends by itself when its lock file is gone.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r word && exit 0
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
runs() { [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$1/data" ]; }
if runs "$1"; then
    kill -QUIT "$pid"
    kill -CONT "$pid"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        runs "$1" || break
        sleep 0.5
    done
    runs "$1" && kill -KILL "$pid"
fi
for _ in 1 2 3 4 5; do
    rm -rf "$1" && break
    sleep 1
done
"#;

pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    /// Watches over the server and the directory of this home.
    pub fn over(home: &Path) -> Result<Self, PostgresError> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT, "guard of a private PostgreSQL"]).arg(home);
        shell.current_dir("/").process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let shell = shell.spawn().map_err(system("`sh` does not start"))?;
        Ok(Self { shell })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            let _ = pipe.write_all(b"ended\n");
        }
        let _ = self.shell.wait();
    }
}
