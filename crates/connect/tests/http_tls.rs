//! HTTP over TLS, out and in: the one end is the other end's target.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

use std::path::Path;

use bytes::Bytes;
use galgo_connect::config::Surroundings;
use galgo_connect::source::Beginning;
use galgo_connect::{
    Batch, Failure, Form, LaneName, Place, Position, Row, SinkSpec, SourceSpec, kind,
};
use galgo_testkit::service::free_ports;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

/// Files of an authority, and of a certificate for localhost that it signed.
fn issue(folder: &Path, name: &str) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join(format!("{name}-ca.pem")), issuer.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

fn around(folder: &Path) -> Surroundings {
    Surroundings { pipeline: "tls".to_owned(), folder: folder.to_owned() }
}

fn target(folder: &Path, file: &str) -> Box<dyn SinkSpec> {
    let kind = kind::sinks().iter().find(|kind| kind.name == "http").unwrap();
    (kind.read)(file.parse().unwrap(), &around(folder)).unwrap()
}

fn origin(folder: &Path, file: &str) -> Box<dyn SourceSpec> {
    let kind = kind::sources().iter().find(|kind| kind.name == "http").unwrap();
    (kind.read)(file.parse().unwrap(), &around(folder)).unwrap()
}

async fn written(target: &dyn SinkSpec) -> Result<(), Failure> {
    let lane = LaneName {
        pipeline: "tls".to_owned(),
        stream: "s".to_owned(),
        topic: "t".to_owned(),
        partition: 0,
    };
    let row = Row {
        place: Place { offset: 0, part: 0 },
        id: 1,
        time: 1,
        origin_time: 1,
        headers_block: Bytes::new(),
        form: Form::Json,
        payload: Bytes::from_static(b"{\"a\":1}"),
    };
    let batch = Batch::new(0, Position { next: 1, ..Position::default() }, vec![row]);
    target.sink().write(&lane, &batch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_trusted_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path(), "server");
    issue(dir.path(), "client");
    let port = free_ports(1);
    let listen = format!(
        "listen = '127.0.0.1:{port}'\ncert_file = 'server.pem'\nkey_file = 'server.key'\nclient_ca_file = 'client-ca.pem'"
    );
    let mut source = origin(dir.path(), &listen).source();
    source.begin(Beginning { cursor: None, once: false }).await.unwrap();
    let stored = tokio::spawn(async move {
        let chunk = source.next().await.unwrap().unwrap();
        source.settled(&chunk.cursor).await.unwrap();
        // The answer is on its way while it listens.
        (chunk.messages, source)
    });
    let url = format!("url = 'https://localhost:{port}/'\ntimeout = '10s'\n");
    let identity = "cert_file = 'client.pem'\nkey_file = 'client.key'\n";
    for (what, more) in [
        ("the server is not trusted", identity.to_owned()),
        ("the server is another one", format!("{identity}ca_file = 'client-ca.pem'")),
    ] {
        let failure = written(&*target(dir.path(), &format!("{url}{more}"))).await.unwrap_err();
        assert_eq!(failure.class(), "refused", "{what}: {failure}");
        assert!(failure.to_string().contains("certificate"), "{what}: {failure}");
    }
    let stranger = target(dir.path(), &format!("{url}ca_file = 'server-ca.pem'"));
    let failure = written(&*stranger).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused { .. } | Failure::Away { .. }), "{failure}");
    let friend = target(dir.path(), &format!("{url}{identity}ca_file = 'server-ca.pem'"));
    written(&*friend).await.unwrap();
    let (messages, _source) = stored.await.unwrap();
    assert_eq!(messages[0].payload, "{\"a\":1}");
    assert!(messages[0].id.is_some(), "the place of one end is the id at the other");

    let no_file = target(dir.path(), &format!("{url}ca_file = 'none.pem'"));
    let failure = no_file.prepare().await.unwrap_err();
    assert!(failure.to_string().contains("none.pem cannot be used for TLS"), "{failure}");
}
