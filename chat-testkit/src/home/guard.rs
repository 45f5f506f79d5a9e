//! Ends a server whose owner was killed: by SIGKILL, by Ctrl-C, by a test runner that had waited long enough.
//!
//! A shell reads from a pipe that only the owner holds. However the owner ends, the pipe ends with it; unless the owner
//! has said that everything is in order, the shell then ends the server and removes its directory. It leads a process
//! group of its own, so that what ends the owner's group does not end the guard.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The server is the process in its own file, if it still stands in the home or a directory there: the number alone
/// might have gone to somebody else. Where there is no `/proc`, PostgreSQL ends by itself when that file is gone.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r word && exit 0
pid=$(head -n 1 "$1/$2" 2>/dev/null)
runs() {
    [ -n "$pid" ] || return 1
    case "$(readlink "/proc/$pid/cwd" 2>/dev/null)" in "$1" | "$1"/*) true ;; *) false ;; esac
}
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
    /// Watches over this home and the server that writes its process id into a file there.
    pub fn over(home: &Path, pid_file: &str) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", SCRIPT, "guard of a private server"])
            .arg(home)
            .arg(pid_file);
        shell.current_dir("/").process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { shell: shell.spawn()? })
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
