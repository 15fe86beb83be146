//! Where a scenario takes place: a server of its own, reached by one transport.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use galgo::{Client, Credentials, Identifier, Message, Partitioning, TopicOptions};
use galgo_server::{Environment, Overrides, Server, ServerOptions};
use tempfile::TempDir;

pub(crate) const USERNAME: &str = "galgo";
pub(crate) const PASSWORD: &str = "galgo-secret";
const PATIENCE: Duration = Duration::from_secs(20);

/// What carries a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    TcpTls,
    TcpMutualTls,
    Quic,
    WebSocket,
    WebSocketTls,
}

impl Carrier {
    fn section(self) -> &'static str {
        match self {
            Self::Tcp | Self::TcpTls | Self::TcpMutualTls => "TCP",
            Self::Quic => "QUIC",
            Self::WebSocket | Self::WebSocketTls => "WEBSOCKET",
        }
    }

    fn has_tls(self) -> bool {
        !matches!(self, Self::Tcp | Self::WebSocket)
    }
}

/// A running server.
pub(crate) struct Place {
    pub(crate) carrier: Carrier,
    dir: TempDir,
    port: u16,
    /// What the scenario asks of the server beyond what all do.
    variables: &'static [(&'static str, &'static str)],
    server: Mutex<Option<Server>>,
}

/// Runs a scenario, and stops the server in order.
pub(crate) fn run(carrier: Carrier, scenario: impl AsyncFnOnce(&Place)) {
    run_with(carrier, &[], scenario);
}

/// As [`run`], with more variables for the server.
pub(crate) fn run_with(
    carrier: Carrier,
    variables: &'static [(&'static str, &'static str)],
    scenario: impl AsyncFnOnce(&Place),
) {
    let place = Place::start(carrier, variables);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(scenario(&place));
    drop(runtime);
    place.stop();
}

impl Place {
    fn start(carrier: Carrier, variables: &'static [(&'static str, &'static str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        for who in ["server", "client"] {
            let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
            let file = |what: &str| dir.path().join(format!("{who}-{what}.pem"));
            std::fs::write(file("cert"), made.cert.pem()).unwrap();
            std::fs::write(file("key"), made.signing_key.serialize_pem()).unwrap();
        }
        let mut place = Self { carrier, dir, port: 0, variables, server: Mutex::default() };
        place.listen();
        place.port = place.bound_port();
        place
    }

    /// Stops the server in order, and starts it again where it was.
    pub(crate) fn restart(&self) {
        tokio::task::block_in_place(|| {
            self.stop();
            self.listen();
        });
    }

    fn stop(&self) {
        self.server.lock().unwrap().take().unwrap().stop().unwrap();
    }

    fn listen(&self) {
        let mut variables: Vec<(String, String)> = vec![
            ("GALGO_ROOT_USERNAME".into(), USERNAME.into()),
            ("GALGO_ROOT_PASSWORD".into(), PASSWORD.into()),
            ("GALGO_LOG_LEVEL".into(), "warn".into()),
            ("GALGO_STORAGE_JOURNAL_FILE_BYTES".into(), "1 MiB".into()),
        ];
        for section in ["TCP", "QUIC", "WEBSOCKET", "HTTP"] {
            let is_used = section == self.carrier.section();
            let port = if is_used { self.port } else { 0 };
            variables.push((format!("GALGO_{section}_ENABLED"), is_used.to_string()));
            variables.push((format!("GALGO_{section}_ADDRESS"), format!("127.0.0.1:{port}")));
        }
        let (cert, key) = (self.file("server-cert.pem"), self.file("server-key.pem"));
        let certificate = match self.carrier {
            Carrier::Quic => Some("GALGO_QUIC_CERTIFICATE"),
            Carrier::TcpTls | Carrier::TcpMutualTls => Some("GALGO_TCP_TLS"),
            Carrier::WebSocketTls => Some("GALGO_WEBSOCKET_TLS"),
            Carrier::Tcp | Carrier::WebSocket => None,
        };
        if let Some(section) = certificate {
            if self.carrier != Carrier::Quic {
                variables.push((format!("{section}_ENABLED"), "true".into()));
            }
            variables.push((format!("{section}_SELF_SIGNED"), "false".into()));
            variables.push((format!("{section}_CERT_FILE"), cert));
            variables.push((format!("{section}_KEY_FILE"), key));
        }
        if self.carrier == Carrier::TcpMutualTls {
            variables.push(("GALGO_TCP_TLS_CLIENT_CA_FILE".into(), self.file("client-cert.pem")));
        }
        variables.extend(self.variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let environment: Environment =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let data_dir = Some(self.dir.path().join("data"));
        let overrides = Overrides { data_dir, ..Default::default() };
        let options = ServerOptions { overrides, ..Default::default() };
        *self.server.lock().unwrap() = Some(Server::start(options, environment).unwrap());
    }

    fn bound_port(&self) -> u16 {
        let server = self.server.lock().unwrap();
        let server = server.as_ref().unwrap();
        let address = match self.carrier {
            Carrier::Tcp | Carrier::TcpTls | Carrier::TcpMutualTls => server.tcp_address(),
            Carrier::Quic => server.quic_address(),
            Carrier::WebSocket | Carrier::WebSocketTls => server.websocket_address(),
        };
        address.unwrap().port()
    }

    pub(crate) fn file(&self, name: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// The connection string, without a login.
    pub(crate) fn url(&self) -> String {
        let scheme = match self.carrier {
            Carrier::Tcp | Carrier::TcpTls | Carrier::TcpMutualTls => "galgo",
            Carrier::Quic => "galgo+quic",
            Carrier::WebSocket => "galgo+ws",
            Carrier::WebSocketTls => "galgo+wss",
        };
        let mut url = format!("{scheme}://127.0.0.1:{}?reconnection_interval=20ms", self.port);
        if self.carrier.has_tls() {
            url += &format!("&tls_ca_file={}", self.file("server-cert.pem"));
        }
        url += match self.carrier {
            Carrier::TcpTls | Carrier::TcpMutualTls => "&tls=true",
            Carrier::Quic => "&validate_certificate=true",
            _ => "",
        };
        if self.carrier == Carrier::TcpMutualTls {
            let (cert, key) = (self.file("client-cert.pem"), self.file("client-key.pem"));
            url += &format!("&tls_cert_file={cert}&tls_key_file={key}");
        }
        url
    }

    /// The settings of a connection, without a login.
    pub(crate) fn builder(&self) -> galgo::ClientBuilder {
        let string: galgo::ConnectionString = self.url().parse().unwrap();
        string.into_builder()
    }

    /// A connection of the root user.
    pub(crate) async fn root(&self) -> Client {
        self.client(Credentials::password(USERNAME, PASSWORD)).await.unwrap()
    }

    /// A connection of whoever has these credentials.
    pub(crate) async fn client(
        &self,
        credentials: Credentials,
    ) -> Result<Client, galgo::ConnectError> {
        self.builder().credentials(credentials).connect().await
    }

    /// A connection of the root user, and a topic called `t` of so many partitions in a stream
    /// called `s`.
    pub(crate) async fn with_topic(&self, partitions: u32) -> Client {
        let client = self.root().await;
        client.create_stream("s").await.unwrap();
        let options = TopicOptions::default().partitions(partitions);
        client.create_topic(&s(), "t", options).await.unwrap();
        client
    }
}

/// The stream of most scenarios.
pub(crate) fn s() -> Identifier {
    named("s")
}

/// Their topic.
pub(crate) fn t() -> Identifier {
    named("t")
}

pub(crate) fn named(text: &str) -> Identifier {
    Identifier::named(text).unwrap()
}

/// Sends the numbers of a range to a partition.
pub(crate) async fn fill(client: &Client, partition: u32, range: std::ops::Range<u32>) {
    let messages: Vec<Message> = range.map(|number| Message::new(number.to_string())).collect();
    let partitioning = Partitioning::PartitionId(partition.into());
    client.send(&s(), &t(), partitioning, &messages).await.unwrap();
}

/// The number a message carries.
pub(crate) fn number(message: &galgo::ReceivedMessage) -> u32 {
    std::str::from_utf8(message.payload()).unwrap().parse().unwrap()
}

/// Waits for something that must come.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}
