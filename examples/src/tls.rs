//! TLS at the server's own port: a certificate and its key from files in PEM, or a sentence that says what is wrong.

use chat_transport_ws::rustls::pki_types::pem::{self, PemObject};
use chat_transport_ws::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use chat_transport_ws::rustls::{self, ServerConfig};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsProblem {
    /// No certificate can be read there.
    Certificate(PathBuf, pem::Error),
    /// No private key can be read there. What is in the file is never shown.
    Key(PathBuf, pem::Error),
    /// They do not belong together, or are of a kind that is not known.
    Rejected(PathBuf, PathBuf, rustls::Error),
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = |error: &pem::Error| match error {
            pem::Error::Io(error) => error.to_string(),
            _ => "there is none in it, in PEM".to_owned(),
        };
        match self {
            Self::Certificate(file, error) => write!(
                f,
                "no certificate can be read from {}: {}; --tls-cert names a file with the certificate and those that \
                 signed it",
                file.display(),
                why(error)
            ),
            Self::Key(file, error) => write!(
                f,
                "no private key can be read from {}: {}; --tls-key names a file with the certificate's key, without a \
                 password",
                file.display(),
                why(error)
            ),
            Self::Rejected(certificate, key, error) => write!(
                f,
                "the certificate in {} and the key in {} cannot be used together: {error}",
                certificate.display(),
                key.display()
            ),
        }
    }
}

impl std::error::Error for TlsProblem {}

/// Reads both files; the process has installed its provider of cryptography before.
///
/// # Errors
/// [`TlsProblem`].
pub fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsProblem> {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.and_then(|chain| match chain.is_empty() {
        true => Err(pem::Error::NoItemsFound),
        false => Ok(chain),
    });
    let chain = chain.map_err(|error| TlsProblem::Certificate(certificate.to_owned(), error))?;
    let read = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsProblem::Key(key.to_owned(), error))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, read);
    let rejected = |error| TlsProblem::Rejected(certificate.to_owned(), key.to_owned(), error);
    Ok(Arc::new(config.map_err(rejected)?))
}
