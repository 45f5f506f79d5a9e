//! What a URL says: the servers, and separately who we are. The client prints servers as they are given to it, and does not
//! read who we are from them.

use async_nats::{ConnectOptions, ServerAddr};
use chat_core::backplane::BackplaneError;
use percent_encoding::percent_decode_str;

pub(crate) struct Named {
    /// At least one, without users.
    pub servers: Vec<ServerAddr>,
    pub user: Option<User>,
}

#[derive(Clone)]
pub(crate) enum User {
    Password(String, String),
    Token(String),
}

pub(crate) fn read(urls: &str) -> Result<Named, BackplaneError> {
    let read: Result<Vec<_>, _> = urls.split(',').map(|url| read_one(url.trim())).collect();
    let (servers, users): (Vec<_>, Vec<_>) = read?.into_iter().unzip();
    Ok(Named {
        servers,
        user: users.into_iter().flatten().next(),
    })
}

fn read_one(url: &str) -> Result<(ServerAddr, Option<User>), BackplaneError> {
    let wrong = |why: &dyn std::fmt::Display| BackplaneError(format!("no URL of NATS: {why}"));
    let named: ServerAddr = url.parse().map_err(|error| wrong(&error))?;
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = named.username().map(|user| match named.password() {
        Some(password) => User::Password(plain(user), plain(password)),
        None => User::Token(plain(user)),
    });
    let mut bare = named.into_inner();
    if !bare.has_host() {
        return Err(wrong(&"it names no host"));
    }
    let stripped = bare.set_username("").and_then(|()| bare.set_password(None));
    stripped.map_err(|()| wrong(&"its user cannot be read"))?;
    let server = ServerAddr::from_url(bare).map_err(|error| wrong(&error))?;
    Ok((server, user))
}

pub(crate) fn log_in(options: ConnectOptions, user: Option<User>) -> ConnectOptions {
    match user {
        Some(User::Password(user, password)) => options.user_and_password(user, password),
        Some(User::Token(token)) => options.token(token),
        None => options,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_we_are_is_read_from_the_url_and_not_left_in_it() {
        let named = read("nats://ana:p%40ss@one:4223, tls://ana:other@two").unwrap();
        let urls: Vec<&str> = named.servers.iter().map(ServerAddr::as_url_str).collect();
        assert_eq!(urls, ["nats://one:4223", "tls://two"]);
        assert!(matches!(named.user, Some(User::Password(user, password)) if user == "ana" && password == "p@ss"));
        let token = read("nats://secret@one").unwrap().user;
        assert!(matches!(token, Some(User::Token(token)) if token == "secret"));
        assert!(read("one").unwrap().user.is_none());
    }

    #[test]
    fn what_is_no_url_of_nats_is_refused_without_its_password() {
        for url in [
            "",
            "nats://",
            "redis://u:hunter2@one",
            "nats://u:hunter2@one:x",
            "nats://one,,",
        ] {
            let error = read(url).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
