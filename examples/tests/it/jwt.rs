//! The JWT module by itself: what it lets in, and that everything else gets one text.

use crate::signer::{LATER, Signer, claims, seconds_from_now, set};
use async_trait::async_trait;
use aws_lc_rs::rsa::KeySize;
use chat_core::Limits;
use chat_core::command::Token;
use chat_core::hooks::{AuthRequest, Hooks, Identity, Refused};
use chat_core::id::Timestamp;
use examples::jwt::{JwtHooks, KeyProblem, KeySource, KeyText, Keys};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn key_text(text: &str) -> KeyText {
    text.parse().expect("any text")
}

fn secret() -> Keys {
    Keys::secret(&key_text(SECRET)).expect("long enough")
}

fn pem(signer: &Signer) -> Keys {
    Keys::pem(&signer.public_pem).expect("a public key")
}

fn hooks(keys: Keys) -> JwtHooks {
    JwtHooks::new(keys, None, None)
}

fn signed_with(secret: &[u8], header: &Header, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret)).expect("claims can be signed")
}

fn signed(claims: &Value) -> String {
    signed_with(SECRET.as_bytes(), &Header::new(Algorithm::HS256), claims)
}

async fn judged(hooks: &JwtHooks, token: Option<String>) -> Result<Identity, Refused> {
    let request = AuthRequest {
        token: token.map(Token),
        guest: Some("ana".to_owned()),
        address: None,
    };
    hooks.authenticate(request).await
}

async fn is_let_in(hooks: &JwtHooks, token: String) -> bool {
    judged(hooks, Some(token)).await.is_ok()
}

#[tokio::test]
async fn a_good_token_says_who_it_is_and_until_when() {
    let claims = json!({ "sub": "u1", "exp": LATER, "name": "Ana", "plan": "gold" });
    let identity = judged(&hooks(secret()), Some(signed(&claims))).await;
    let identity = identity.expect("a good token");
    assert_eq!(identity.user.as_str(), "u1");
    assert_eq!(identity.display, Some(json!({ "name": "Ana" })));
    assert_eq!(identity.expires_at, Some(Timestamp(LATER * 1000)));
}

#[tokio::test]
async fn each_algorithm_admits_by_pem_and_by_set_and_only_what_its_own_key_signed() {
    let signers = [Signer::rsa(), Signer::p256(), Signer::ed25519()];
    let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    assert_eq!(signers.each_ref().map(|signer| signer.algorithm), algorithms);
    let names = ["one", "two", "three"];
    let entries: Vec<Value> = std::iter::zip(&signers, names).map(|(it, name)| it.jwk(name)).collect();
    let all = hooks(Keys::jwks(&set(&entries)).expect("a set"));
    for (signer, name) in std::iter::zip(&signers, names) {
        let alone = hooks(pem(signer));
        assert!(is_let_in(&alone, signer.token(None, &claims("ana"))).await, "{name}");
        assert!(
            is_let_in(&all, signer.token(Some(name), &claims("ana"))).await,
            "{name}"
        );
        for (other, other_name) in std::iter::zip(&signers, names) {
            if name != other_name {
                assert!(!is_let_in(&alone, other.token(None, &claims("ana"))).await);
                assert!(!is_let_in(&all, other.token(Some(name), &claims("ana"))).await);
            }
        }
        let unnamed = signer.token(None, &claims("ana"));
        assert!(!is_let_in(&all, unnamed).await, "of several keys none is guessed");
    }
}

#[tokio::test]
async fn every_bad_token_gets_one_text() {
    let signer = Signer::rsa();
    let keys = [
        secret(),
        pem(&signer),
        Keys::jwks(&set(&[signer.jwk("2026")])).expect("a set"),
    ];
    let good = claims("ana");
    let payload = signed(&good).split('.').nth(1).expect("a payload").to_owned();
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["exp".to_owned()]);
    let of_nobody = |key_id| signer.token(Some(key_id), &good);
    let hs256 = Header::new(Algorithm::HS256);
    let mut bad = vec![
        None,
        Some(String::new()),
        Some("no token".to_owned()),
        Some("..".to_owned()),
        // `{"alg":"none","typ":"JWT"}`
        Some(format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.")),
        // The public key as a secret, in the spelling that its owner publishes.
        Some(signed_with(signer.public_pem.as_bytes(), &hs256, &good)),
        Some(signed_with(signer.public_pem.trim().as_bytes(), &hs256, &good)),
        Some(signed_with(b"another key of at least 32 bytes", &hs256, &good)),
        Some(signed_with(SECRET.as_bytes(), &Header::new(Algorithm::HS512), &good)),
        Some(signed_with(SECRET.as_bytes(), &critical, &good)),
        Some(of_nobody("2025")),
        Some(of_nobody("")),
        Some(Signer::rsa().token(Some("2026"), &good)),
        Some(Signer::p256().token(Some("2026"), &good)),
    ];
    for claims in [
        json!({ "sub": "u1", "exp": 1 }),
        json!({ "sub": "u1" }),
        json!({ "exp": LATER }),
        json!({ "sub": "", "exp": LATER }),
        json!({ "sub": "u1", "exp": LATER, "nbf": LATER }),
        json!({ "sub": "u1", "exp": LATER, "aud": "elsewhere" }),
    ] {
        bad.extend(
            [
                signed(&claims),
                signer.token(None, &claims),
                signer.token(Some("2026"), &claims),
            ]
            .map(Some),
        );
    }
    let mut texts = Vec::new();
    for hooks in keys.map(hooks) {
        for token in &bad {
            texts.push(judged(&hooks, token.clone()).await.expect_err("a bad token").0);
        }
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn audience_and_issuer_are_wanted_when_they_are_named() {
    let hooks = JwtHooks::new(secret(), Some("chat"), Some("https://id.example.com"));
    let claims = |audience: &str, issuer: &str| json!({ "sub": "u1", "exp": LATER, "aud": audience, "iss": issuer });
    assert!(is_let_in(&hooks, signed(&claims("chat", "https://id.example.com"))).await);
    assert!(!is_let_in(&hooks, signed(&claims("mail", "https://id.example.com"))).await);
    assert!(!is_let_in(&hooks, signed(&claims("chat", "https://id.example.net"))).await);
    assert!(!is_let_in(&hooks, signed(&json!({ "sub": "u1", "exp": LATER }))).await);
}

#[tokio::test]
async fn a_single_key_answers_to_its_own_name_only() {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("2026".to_owned());
    let of_this = || signed_with(SECRET.as_bytes(), &header, &claims("ana"));
    let unnamed = || signed(&claims("ana"));
    let nameless = hooks(secret());
    assert!(is_let_in(&nameless, unnamed()).await);
    assert!(!is_let_in(&nameless, of_this()).await);
    let named = hooks(secret().named("2026"));
    assert!(is_let_in(&named, unnamed()).await);
    assert!(is_let_in(&named, of_this()).await);
    let other = hooks(secret().named("2025"));
    assert!(!is_let_in(&other, of_this()).await);
}

#[tokio::test]
async fn keys_that_are_replaced_admit_nobody_any_more() {
    let (old, new) = (Signer::ed25519(), Signer::p256());
    let hooks = hooks(pem(&old));
    let shared = hooks.clone();
    hooks.replace_keys(pem(&new));
    for hooks in [hooks, shared] {
        assert!(is_let_in(&hooks, new.token(None, &claims("ana"))).await);
        assert!(!is_let_in(&hooks, old.token(None, &claims("ana"))).await);
    }
}

/// Hands out what a test put there, and counts.
#[derive(Clone, Default)]
struct Shelf {
    set: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Shelf {
    fn put(&self, keys: &[Value]) {
        *self.set.lock().expect("no panic inside") = set(keys);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl KeySource for Shelf {
    async fn fetch(&self) -> Result<Keys, KeyProblem> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(500)).await;
        Keys::jwks(&self.set.lock().expect("no panic inside"))
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_token_of_a_new_key_is_let_in_and_a_thousand_of_none_ask_once() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let shelf = Shelf::default();
    let hooks = hooks(Keys::jwks(&set(&[old.jwk("old")])).expect("a set")).with_source(shelf.clone());
    shelf.put(&[old.jwk("old"), new.jwk("new")]);
    let of = async |signer: &Signer, name: &str| is_let_in(&hooks, signer.token(Some(name), &claims("ana"))).await;
    assert!(of(&old, "old").await);
    assert_eq!(shelf.asked(), 0, "what is known is not asked for");
    // Two at once: one asks, and the other takes what it got.
    assert_eq!(tokio::join!(of(&new, "new"), of(&new, "new")), (true, true));
    assert_eq!(shelf.asked(), 1);
    let names: Vec<String> = (0..1000).map(|number| format!("no {number}")).collect();
    let answers = join_all(names.iter().map(|name| of(&new, name))).await;
    assert!(answers.iter().all(|is_in| !is_in));
    assert_eq!(shelf.asked(), 2, "once for all of them");
    // A key that was withdrawn goes with the next look.
    shelf.put(&[new.jwk("new")]);
    hooks.refresh_keys().await;
    assert!(!of(&old, "old").await && of(&new, "new").await);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_just_before_a_rotation_keeps_nobody_out() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let shelf = Shelf::default();
    let hooks = hooks(Keys::jwks(&set(&[old.jwk("old")])).expect("a set")).with_source(shelf.clone());
    let of = async |signer: &Signer, name: &str| is_let_in(&hooks, signer.token(Some(name), &claims("ana"))).await;
    shelf.put(&[old.jwk("old")]);
    assert!(!of(&new, "no such").await);
    shelf.put(&[new.jwk("new")]);
    let began_at = Instant::now();
    assert!(of(&new, "new").await, "what was read before it came says nothing");
    assert!(began_at.elapsed() < Limits::default().hook_timeout);
    assert_eq!(shelf.asked(), 2);
    // One who leaves while the source is asked does not leave the others without an answer, nor shortens the pause.
    shelf.put(&[old.jwk("newer")]);
    sleep(Duration::from_secs(1)).await;
    let leaves = timeout(Duration::from_millis(100), of(&new, "no such"));
    let (left, is_in) = tokio::join!(leaves, of(&old, "newer"));
    assert!(left.is_err() && is_in);
    assert_eq!(shelf.asked(), 4);
    assert!(began_at.elapsed() > Duration::from_secs(3), "at most once a second");
}

#[tokio::test]
async fn a_set_replaces_the_keys_also_when_none_of_it_is_usable_and_what_is_no_set_does_not() {
    let (old, other) = (Signer::ed25519(), Signer::p256());
    let shelf = Shelf::default();
    let hooks = hooks(Keys::jwks(&set(&[old.jwk("old")])).expect("a set")).with_source(shelf.clone());
    let of = async |signer: &Signer, name: Option<&str>| is_let_in(&hooks, signer.token(name, &claims("ana"))).await;
    hooks.refresh_keys().await;
    assert!(of(&old, Some("old")).await, "an empty file is no set");
    for none in [vec![], vec![Signer::p384().jwk("old")]] {
        shelf.put(&none);
        hooks.refresh_keys().await;
        assert!(!of(&old, Some("old")).await && !of(&old, None).await, "{none:?}");
        shelf.put(&[old.jwk("old")]);
        hooks.refresh_keys().await;
        assert!(of(&old, Some("old")).await);
    }
    // Two of one name: which one is meant cannot be told, and the third is not the only one.
    shelf.put(&[old.jwk("twice"), other.jwk("twice"), old.jwk("once")]);
    hooks.refresh_keys().await;
    assert!(!of(&old, Some("twice")).await && !of(&other, Some("twice")).await);
    assert!(of(&old, Some("once")).await && !of(&old, None).await);
}

#[tokio::test]
async fn a_clock_that_is_seconds_ahead_is_forgiven_but_only_for_the_begin() {
    let hooks = hooks(secret());
    let near = seconds_from_now(2);
    let judged = async |claims: Value| judged(&hooks, Some(signed(&claims))).await;
    assert!(judged(json!({ "sub": "u1", "exp": LATER, "nbf": near })).await.is_ok());
    let far = seconds_from_now(600);
    assert!(judged(json!({ "sub": "u1", "exp": LATER, "nbf": far })).await.is_err());
    let past = seconds_from_now(0) - 2;
    assert!(
        judged(json!({ "sub": "u1", "exp": past })).await.is_err(),
        "not for the end"
    );
}

#[tokio::test]
async fn times_may_be_parts_of_seconds() {
    let claims = json!({ "sub": "u1", "exp": 4_102_444_800.25, "nbf": 1.5 });
    let identity = judged(&hooks(secret()), Some(signed(&claims))).await;
    let expires_at = identity.expect("a good token").expires_at;
    assert_eq!(expires_at, Some(Timestamp(LATER * 1000 + 250)));
    for bad in [json!({ "sub": "u1", "exp": 1.5 }), json!({ "sub": "u1", "exp": -1.5 })] {
        judged(&hooks(secret()), Some(signed(&bad))).await.expect_err("over");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_shown_is_not_shown() {
    for name in ["a\0b", "a\nb", "\u{202e}ana", "\u{200b}", ""] {
        let claims = json!({ "sub": "u1", "exp": LATER, "name": name });
        let identity = judged(&hooks(secret()), Some(signed(&claims))).await;
        assert_eq!(identity.expect("a good token").display, None, "{name:?}");
    }
}

fn at_start(set: &str) -> Result<Keys, KeyProblem> {
    Keys::jwks(set)?.fit_to_start()
}

#[test]
fn of_a_set_only_public_keys_that_verify_our_algorithms_are_taken() {
    let (rsa, p256) = (Signer::rsa(), Signer::p256());
    let with = |signer: &Signer, name: &str, value: Value| {
        let mut entry = signer.jwk("a key");
        entry[name] = value;
        entry
    };
    let none_usable = [
        json!({ "kty": "oct", "kid": "a key", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" }),
        json!({ "kty": "RSA", "kid": "a key", "alg": "RS256", "n": "AQAB", "e": "AQAB" }),
        json!({ "kty": "new", "kid": "a key" }),
        json!("no key"),
        Signer::p384().jwk("a key"),
        with(&rsa, "alg", json!("HS256")),
        with(&rsa, "alg", json!("none")),
        with(&rsa, "alg", json!("ES256")),
        with(&rsa, "kty", json!("EC")),
        with(&rsa, "use", json!("enc")),
        with(&rsa, "key_ops", json!(["encrypt"])),
        with(&p256, "alg", json!("HS256")),
        with(&p256, "crv", json!("P-384")),
        with(&p256, "x", json!("AQAB")),
    ];
    for entry in none_usable {
        let problem = at_start(&set(std::slice::from_ref(&entry))).expect_err("not usable");
        assert_eq!(problem, KeyProblem::NoneUsable, "{entry}");
        // Beside one that is good it does no harm.
        at_start(&set(&[entry, p256.jwk("good")])).expect("one is good");
    }
    for good in [
        with(&rsa, "use", json!("sig")),
        with(&rsa, "alg", Value::Null),
        with(&rsa, "key_ops", json!(["verify"])),
    ] {
        at_start(&set(&[good])).expect("a good key");
    }
    for text in ["", "null", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]"#] {
        assert_eq!(Keys::jwks(text).expect_err("no set"), KeyProblem::NoSet, "{text}");
    }
    assert_eq!(at_start(&set(&[])).expect_err("empty"), KeyProblem::NoneUsable);
    let twice = [rsa.jwk("a"), p256.jwk("a")];
    assert_eq!(at_start(&set(&twice)).expect_err("which one?"), KeyProblem::SameName);
}

#[test]
fn what_is_no_public_key_of_ours_is_refused_and_no_key_is_printed() {
    let rsa = Signer::rsa();
    assert_eq!(Keys::pem(&rsa.private_pem).expect_err("private"), KeyProblem::Private);
    for text in [
        "",
        "ssh-ed25519 AAAA",
        "-----BEGIN PUBLIC KEY-----",
        &Signer::p384().public_pem,
    ] {
        assert_eq!(Keys::pem(text).expect_err("no key of ours"), KeyProblem::Pem, "{text}");
    }
    let certificate = rsa.public_pem.replace("PUBLIC KEY", "CERTIFICATE");
    assert_eq!(Keys::pem(&certificate).expect_err("no key"), KeyProblem::Pem);
    let as_secret = Keys::secret(&key_text(&rsa.public_pem)).expect_err("no secret");
    assert_eq!(as_secret, KeyProblem::PemAsSecret);
    let short = Keys::secret(&key_text(&SECRET[1..])).expect_err("too short");
    assert_eq!(short, KeyProblem::Short(31));
    let set = Keys::jwks(&set(&[rsa.jwk("2026"), Signer::rsa_of(KeySize::Rsa3072).jwk("2027")])).expect("a set");
    assert_eq!(
        format!("{:?} {:?}", key_text(SECRET), secret()),
        "[redacted] [(None, HS256)]"
    );
    assert_eq!(format!("{set:?}"), r#"[(Some("2026"), RS256), (Some("2027"), RS256)]"#);
    assert_eq!(
        format!("{set}, {}", pem(&rsa)),
        "one of 2 keys (RS256), the key (RS256)"
    );
}
