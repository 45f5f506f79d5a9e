//! nginx and Caddy as processes, by configurations of the documentation. `CHAT_NGINX` and `CHAT_CADDY` name the programs.

use crate::process::Process;
use std::env;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::time::sleep;

/// Nothing takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const NGINX: &str = include_str!("../../../docs/proxies/nginx.conf");
pub const NGINX_OF_TWO: &str = include_str!("../../../docs/operations/nginx.conf");
pub const CADDY: &str = include_str!("../../../docs/proxies/Caddyfile");
pub const CADDY_OF_TWO: &str = include_str!("../../../docs/operations/Caddyfile");

/// A site of nginx at another address, in the clear.
pub fn without_tls(site: &str, address: SocketAddr) -> String {
    site.replace("listen 443 ssl", &format!("listen {address}"))
        .replace("ssl_certificate", "# ssl_certificate")
}

/// Serves this site, and keeps its own files in the folder.
pub fn nginx(folder: &Path, site: &str) -> Process {
    fs::write(folder.join("site.conf"), site).unwrap();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary
        .map(|name| format!("{name}_temp_path {};", shown(folder, name)))
        .join(" ");
    // One process, so that what ends it ends all of it.
    let whole = format!(
        "daemon off; master_process off; pid {}; error_log stderr; events {{ worker_connections 4096; }} \
         http {{ access_log off; {temporary} include {}; }}",
        shown(folder, "pid"),
        shown(folder, "site.conf")
    );
    fs::write(folder.join("nginx.conf"), whole).unwrap();
    let mut command = Command::new(program("CHAT_NGINX"));
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    Process::start(command.args(["-e", "stderr"]))
}

/// The same with Caddy.
pub fn caddy(folder: &Path, site: &str) -> Process {
    let own = "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n";
    fs::write(folder.join("Caddyfile"), format!("{own}{site}")).unwrap();
    let mut command = Command::new(program("CHAT_CADDY"));
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(name, folder);
    }
    let command = command.args(["run", "--adapter", "caddyfile", "--config"]);
    Process::start(command.arg(folder.join("Caddyfile")))
}

/// Waits until somebody listens there.
pub async fn listens(address: SocketAddr) {
    for _ in 0..PATIENCE.as_millis() / 50 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody listens at {address}");
}

pub fn shown(folder: &Path, file: &str) -> String {
    folder.join(file).display().to_string()
}

fn program(name: &str) -> PathBuf {
    let path = env::var_os(name);
    let advice = "this test needs the proxies: run `cargo xtask test`, which finds or fetches them, or set";
    path.unwrap_or_else(|| panic!("{advice} {name}")).into()
}
