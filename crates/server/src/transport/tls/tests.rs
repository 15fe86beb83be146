//! Where certificates come from, and what happens when their files are wrong.

use std::fs;

use super::*;

fn settings() -> TlsSettings {
    TlsSettings {
        section: "tcp.tls",
        self_signed: true,
        tls13_only: false,
        cert_file: None,
        key_file: None,
        client_ca_file: None,
        client_certificates: ClientCertificates::Required,
    }
}

/// Writes a new certificate and its key, as `name.pem` and `name.key`, and names them.
fn files(dir: &std::path::Path, name: &str) -> TlsSettings {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    TlsSettings { cert_file: Some(cert), key_file: Some(key), ..settings() }
}

fn identity(settings: &TlsSettings, made: &SelfSigned) -> Arc<ServerIdentity> {
    ServerIdentity::of(settings, made).unwrap()
}

#[test]
fn a_certificate_is_made_once_and_only_when_no_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let made = SelfSigned::default();
    let (one, two) = (identity(&settings(), &made), identity(&settings(), &made));
    assert_eq!(one.fingerprint(), two.fingerprint());
    assert_eq!(one.fingerprint().len(), 32 * 3 - 1);
    let on_disk = files(dir.path(), "own");
    assert_ne!(identity(&on_disk, &made).fingerprint(), one.fingerprint());
}

/// A typo in `cert_file` made a listener show a certificate of its own making, and say so at info only.
#[test]
fn a_named_file_that_is_missing_is_an_error_although_one_could_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let made = SelfSigned::default();
    let own = files(dir.path(), "own");
    let gone = Some(dir.path().join("typo.pem"));
    for missing in [
        TlsSettings { cert_file: gone.clone(), ..own.clone() },
        TlsSettings { key_file: gone.clone(), ..own.clone() },
    ] {
        let error = ServerIdentity::of(&missing, &made).unwrap_err().to_string();
        assert!(error.contains("typo.pem"), "{error}");
    }
    let no_key = TlsSettings { key_file: None, ..own.clone() };
    assert!(ServerIdentity::of(&no_key, &made).unwrap_err().to_string().contains("key_file"));
    let no_cert = TlsSettings { cert_file: None, ..own };
    assert!(ServerIdentity::of(&no_cert, &made).unwrap_err().to_string().contains("cert_file"));
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let made = Arc::new(SelfSigned::default());
    let message = |settings: TlsSettings| {
        Certificates::load(settings, &made).map(|_| ()).unwrap_err().to_string()
    };
    let off = TlsSettings { self_signed: false, ..settings() };
    assert!(message(off.clone()).contains("cert_file"));
    let own = files(dir.path(), "own");
    let gone = dir.path().join("gone.pem");
    let text = message(TlsSettings { cert_file: Some(gone), key_file: None, ..off });
    assert!(text.contains("key_file"), "{text}");
    let other = files(dir.path(), "other");
    let mixed = TlsSettings { key_file: other.key_file, ..own.clone() };
    assert!(message(mixed).contains("own.pem"));
    let no_authority = TlsSettings { client_ca_file: own.key_file.clone(), ..own };
    let text = message(no_authority);
    assert!(text.contains("own.key: no certificate in it"), "{text}");
}

#[test]
fn a_bad_new_file_leaves_the_old_certificate_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let settings = files(dir.path(), "own");
    let made = Arc::new(SelfSigned::default());
    let certificates = Certificates::load(settings.clone(), &made).unwrap();
    let first = certificates.server_config();
    fs::write(settings.cert_file.as_ref().unwrap(), "nothing").unwrap();
    assert!(!certificates.reload());
    assert!(Arc::ptr_eq(&first, &certificates.server_config()));
    files(dir.path(), "own");
    assert!(certificates.reload());
    assert!(!Arc::ptr_eq(&first, &certificates.server_config()));
}
