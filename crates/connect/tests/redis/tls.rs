//! Redis over TLS.

use galgo_connect::Failure;
use galgo_testkit::service::free_ports;
use galgo_testkit::service::redis::{Redis, USER};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::rig::{lane, numbered, sink_spec};
use crate::sink::section;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_trusted_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(path("ca.pem"), issuer.pem()).unwrap();
    std::fs::write(path("server.pem"), certificate.pem()).unwrap();
    std::fs::write(path("server.key"), key.serialize_pem()).unwrap();
    let tls = free_ports(1);
    let more = format!(
        "tls-port {tls}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    );
    let Some(_redis) = Redis::start_with(folder.path(), free_ports(1), &more) else { return };
    let trusted = format!("stream = 'tls'\nca_file = '{}'", path("ca.pem"));
    let section = |host: &str, more: &str| {
        section(USER, tls, more).replace("redis://", "rediss://").replace("127.0.0.1", host)
    };
    for (host, more) in [("localhost", "stream = 'tls'"), ("127.0.0.1", &trusted)] {
        let failure = sink_spec("redis", &section(host, more)).prepare().await.unwrap_err();
        assert!(matches!(&failure, Failure::Refused { .. }), "{failure:?}");
        assert!(failure.to_string().contains("is not trusted"), "{failure}");
    }
    let spec = sink_spec("redis", &section("localhost", &trusted));
    let mut sink = spec.sink();
    assert_eq!(sink.position(&lane()).await, Ok(None));
    sink.write(&lane(), &numbered(0..3)).await.unwrap();
}
