//! Which web pages may connect: the `Origin` header (RFC 6454) against a list, or against our own host.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// One entry of the allow-list: `https://app.example.com`, `https://*.example.com`, `*.example.com`.
///
/// `*.` stands for one or more whole labels and never for the bare domain; without a scheme, `http` and `https` both
/// match; a single word other than `localhost` needs a scheme or a port. A port is the scheme's own unless it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule {
    scheme: Option<String>,
    /// With `*.` cut off, when there was one.
    host: String,
    any_label: bool,
    port: Option<u16>,
}

/// An entry of the allow-list cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no origin: write `https://app.example.com` or `https://*.example.com`")]
pub struct OriginError(String);

impl FromStr for OriginRule {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let error = || OriginError(text.to_owned());
        let (scheme, authority) = match text.split_once("://") {
            Some((scheme, authority)) => (Some(scheme.to_ascii_lowercase()), authority),
            None => (None, text),
        };
        let (any_label, authority) = match authority.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, authority),
        };
        let (host, port) = split_authority(authority).ok_or_else(error)?;
        if host.contains('*') || scheme.as_deref().is_some_and(|scheme| !is_scheme(scheme)) {
            return Err(error());
        }
        // One word is a mistake sooner than a host: whoever means a host says so by a scheme or a port.
        let is_word =
            scheme.is_none() && port.is_none() && !any_label && !host.contains(['.', ':']) && host != "localhost";
        if is_word {
            return Err(error());
        }
        let port = port.or_else(|| default_port(scheme.as_deref()?));
        Ok(Self {
            scheme,
            host,
            any_label,
            port,
        })
    }
}

impl fmt::Display for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        f.write_str(if self.any_label { "*." } else { "" })?;
        f.write_str(&self.host)?;
        match self.port {
            Some(port) if Some(port) != self.scheme.as_deref().and_then(default_port) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

impl OriginRule {
    fn allows(&self, origin: &Origin) -> bool {
        let scheme_fits = match &self.scheme {
            Some(scheme) => *scheme == origin.scheme,
            None => matches!(origin.scheme.as_str(), "http" | "https"),
        };
        let port = self.port.or_else(|| default_port(&origin.scheme));
        let host_fits = if self.any_label {
            // The dot is part of what must end it: `evilexample.com` is not below `example.com`.
            let above = origin.host.strip_suffix(self.host.as_str());
            above.is_some_and(|above| above.len() > 1 && above.ends_with('.') && !above.starts_with('.'))
        } else {
            origin.host == self.host
        };
        scheme_fits && host_fits && port == origin.port
    }
}

/// Whether a page of this origin may connect: by the list, or, when it is empty, if it came from the same host.
pub(crate) fn is_allowed(origin: &str, host: &str, rules: &[OriginRule]) -> bool {
    let Some(origin) = Origin::parse(origin) else {
        return false;
    };
    if !rules.is_empty() {
        return rules.iter().any(|rule| rule.allows(&origin));
    }
    let Some((host, port)) = split_authority(host) else {
        return false;
    };
    let port = port.or_else(|| default_port(&origin.scheme));
    matches!(origin.scheme.as_str(), "http" | "https") && origin.host == host && origin.port == port
}

/// An origin that is not `null`.
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_authority(authority)?;
        let port = port.or_else(|| default_port(&scheme));
        is_scheme(&scheme).then_some(Self { scheme, host, port })
    }
}

/// Host in lower case and port; none for anything that has more than these, such as a user or a path.
fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let after_host = match authority.strip_prefix('[') {
        Some(literal) => literal.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(after_host);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]*".contains(&byte);
    if host.is_empty() || host.starts_with('.') || !host.bytes().all(is_host) {
        return None;
    }
    let port = match port.strip_prefix(':') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
        None if port.is_empty() => None,
        None => return None,
    };
    Some((host.to_ascii_lowercase(), port))
}

fn is_scheme(scheme: &str) -> bool {
    let mut bytes = scheme.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(rules: &[&str], origin: &str) -> bool {
        let rules: Vec<OriginRule> = rules.iter().map(|rule| rule.parse().expect("a rule")).collect();
        is_allowed(origin, "chat.example.com", &rules)
    }

    #[test]
    fn without_a_list_only_pages_of_the_same_host_connect() {
        for (origin, host) in [
            ("https://chat.example.com", "chat.example.com"),
            ("https://chat.example.com", "chat.example.com:443"),
            ("http://CHAT.example.com:80", "chat.Example.com"),
            ("http://127.0.0.1:7000", "127.0.0.1:7000"),
            ("http://[::1]:7000", "[::1]:7000"),
        ] {
            assert!(is_allowed(origin, host, &[]), "{origin} at {host}");
        }
        for (origin, host) in [
            ("https://chat.example.com.evil.net", "chat.example.com"),
            ("https://evil.net", "chat.example.com"),
            ("http://127.0.0.1:7001", "127.0.0.1:7000"),
            ("http://127.0.0.1", "127.0.0.1:7000"),
            ("null", "chat.example.com"),
            ("", "chat.example.com"),
            ("https://", ""),
            ("https://chat.example.com@evil.net", "chat.example.com"),
            ("https://chat.example.com/", "chat.example.com"),
            ("ftp://chat.example.com", "chat.example.com"),
            ("https://[", "["),
        ] {
            assert!(!is_allowed(origin, host, &[]), "{origin} at {host}");
        }
    }

    #[test]
    fn the_list_is_exact() {
        let rules = ["https://app.example.com", "http://localhost:3000", "tauri://localhost"];
        assert!(allowed(&rules, "https://app.example.com"));
        assert!(allowed(&rules, "https://app.example.com:443"));
        assert!(allowed(&rules, "http://localhost:3000"));
        assert!(allowed(&rules, "tauri://localhost"));
        for origin in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.net",
            "https://xapp.example.com",
            "http://localhost",
            "https://chat.example.com",
            "null",
        ] {
            assert!(
                !allowed(&rules, origin),
                "{origin}: a list replaces the rule of the same host"
            );
        }
    }

    #[test]
    fn a_star_stands_for_whole_labels_only() {
        let rules = ["https://*.example.com"];
        assert!(allowed(&rules, "https://app.example.com"));
        assert!(allowed(&rules, "https://a.b.example.com"));
        for origin in [
            "https://example.com",
            "https://evilexample.com",
            "https://.example.com",
            "http://app.example.com",
            "https://app.example.com.evil.net",
        ] {
            assert!(!allowed(&rules, origin), "{origin}");
        }
        assert!(allowed(&["*.example.com"], "http://app.example.com"));
        assert!(allowed(&["*.example.com"], "https://app.example.com"));
        assert!(!allowed(&["*.example.com"], "https://app.example.com:8443"));
    }

    #[test]
    fn an_entry_that_is_no_origin_is_refused() {
        for text in [
            "",
            "*",
            "https://",
            "https://a*.example.com",
            "https://x/y",
            "https://a:b",
            "*.*.com",
            "://x",
            "nonsense",
        ] {
            assert!(text.parse::<OriginRule>().is_err(), "{text}");
        }
        for text in ["localhost", "intranet:8080", "http://intranet", "*.internal", "[::1]"] {
            assert!(text.parse::<OriginRule>().is_ok(), "{text}");
        }
        let rule: OriginRule = "https://*.Example.com".parse().expect("a rule");
        assert_eq!(rule.to_string(), "https://*.example.com");
    }
}
