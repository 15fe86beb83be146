//! A connection to Redis, which is dropped when it is lost.
//!
//! Part of INV-MUTE: what Redis says of an error may quote a command with all that is in it, so only its code is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisConnectionInfo, RedisError,
    RedisResult,
};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::bridge::CONNECT_LIMIT;
use crate::bridge::address::{BridgeAddress, Schemes};
use crate::bridge::login::secret;
use crate::failure::Failure;
use crate::secret::SecretSource;
use crate::web::tls::{self, TlsFiles};

/// How Redis is addressed.
const SCHEMES: Schemes = Schemes { plain: ("redis", 6379), tls: ("rediss", 6379) };

/// How a server is reached and who logs in.
#[derive(Clone, Debug)]
pub(crate) struct RedisAccess {
    /// Where it is.
    pub address: BridgeAddress,
    /// The number of the database.
    pub database: u32,
    /// The password of its user.
    pub password: Option<SecretSource>,
    /// Whom it has to be vouched for by.
    pub ca_file: Option<PathBuf>,
    /// How the connection is called in the server's lists.
    pub name: String,
    /// The limit of each step but the connection.
    pub limit: Duration,
}

/// A connection. What was sent and not answered when it is dropped may be done nevertheless.
pub(crate) struct RedisLink {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
    place: String,
    limit: Duration,
}

impl Drop for RedisLink {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl RedisAccess {
    /// Reads the address of a file, and the number of the database in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(url: &str, name: String, limit: Duration) -> Result<Self, String> {
        let address = BridgeAddress::parse(url, SCHEMES)?;
        let database = match address.path.as_str() {
            "" => Some(0),
            path => path.parse().ok(),
        };
        let Some(database) = database else {
            return Err(
                "url has a path that is no number of a database; write redis://USER@HOST:PORT/0"
                    .to_owned(),
            );
        };
        Ok(Self { address, database, password: None, ca_file: None, name, limit })
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// [`Failure::Away`], [`Failure::Refused`].
    pub(crate) async fn connect(&self) -> Result<RedisLink, Failure> {
        match timeout(CONNECT_LIMIT, self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(self.away(&format!("it did not answer within {CONNECT_LIMIT:?}"))),
        }
    }

    async fn open(&self) -> Result<RedisLink, Failure> {
        let mut info =
            RedisConnectionInfo::default().set_skip_set_lib_name().set_db(i64::from(self.database));
        if let Some(password) = secret(self.password.as_ref(), "Redis")? {
            info = info.set_password(password.reveal());
            if let Some(user) = &self.address.user {
                info = info.set_username(user);
            }
        }
        let stream = TcpStream::connect(self.address.place()).await;
        let stream = stream.map_err(|error| self.away(&error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let link = match self.address.tls {
            false => self.log_in(&info, stream).await?,
            true => {
                let files = TlsFiles { ca: self.ca_file.clone(), identity: None };
                let connector = TlsConnector::from(Arc::new(tls::client_config(&files)?));
                let name = ServerName::try_from(self.address.host.clone());
                let name = name.map_err(|_| {
                    self.refused(
                        "a certificate cannot be for such a name",
                        "name the host in url as its certificate does",
                    )
                })?;
                let stream = connector.connect(name, stream).await;
                self.log_in(&info, stream.map_err(|error| self.untrusted(&error))?).await?
            }
        };
        // Who has to log in and did not is not told before.
        link.ask::<()>(&redis::cmd("PING")).await?;
        // For people who look at its list of clients; not everybody may.
        let mut named = redis::cmd("CLIENT");
        let _ = link.ask::<()>(named.arg("SETNAME").arg(&self.name)).await;
        Ok(link)
    }

    async fn log_in<S>(&self, info: &RedisConnectionInfo, stream: S) -> Result<RedisLink, Failure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let place = self.address.place();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let opened = MultiplexedConnection::new_with_config(info, stream, config).await;
        let (connection, driver) = opened.map_err(|error| match error.detail() {
            Some(said) if said.contains("DB index is out of range") => self.refused(
                &format!("there is no database {}", self.database),
                "correct the number at the end of url",
            ),
            _ => meaning(&place, &error),
        })?;
        Ok(RedisLink { connection, driver: tokio::spawn(driver), place, limit: self.limit })
    }

    fn untrusted(&self, error: &std::io::Error) -> Failure {
        match error.get_ref().is_some_and(|it| it.is::<rustls::Error>()) {
            true => self.refused(
                &format!("it is not trusted: {error}"),
                "name the file with the certificate of its authority in ca_file, and the host as its certificate does",
            ),
            false => self.away(&error.to_string()),
        }
    }

    fn away(&self, reason: &str) -> Failure {
        Failure::away(format!("Redis at {}: {reason}", self.address.place()))
    }

    fn refused(&self, reason: &str, advice: &str) -> Failure {
        Failure::refused(format!("Redis at {}: {reason}", self.address.place()), advice)
    }
}

impl RedisLink {
    /// A failure that says where.
    pub(crate) fn away(&self, reason: &str) -> Failure {
        Failure::away(format!("Redis at {}: {reason}", self.place))
    }

    /// A refusal that says where.
    pub(crate) fn refused(&self, reason: &str, advice: &str) -> Failure {
        Failure::refused(format!("Redis at {}: {reason}", self.place), advice)
    }

    /// Sends a command and waits for its answer within the limit.
    ///
    /// # Errors
    /// [`Failure::Away`], [`Failure::Refused`].
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let mut connection = self.connection.clone();
        self.wait(command.query_async(&mut connection)).await
    }

    /// Runs a script, which is sent as a whole when Redis does not know it yet.
    ///
    /// # Errors
    /// As [`RedisLink::ask`].
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &redis::ScriptInvocation<'_>,
    ) -> Result<T, Failure> {
        let mut connection = self.connection.clone();
        self.wait(script.invoke_async(&mut connection)).await
    }

    /// As [`RedisLink::run`], of a script that writes: whether it was run is not known when the connection is lost.
    ///
    /// # Errors
    /// As [`RedisLink::ask`]; [`Failure::Unknown`].
    pub(crate) async fn run_writing<T: FromRedisValue>(
        &self,
        script: &redis::ScriptInvocation<'_>,
    ) -> Result<T, Failure> {
        let mut connection = self.connection.clone();
        let unknown = |reason: String| Failure::Unknown { reason };
        match timeout(self.limit, script.invoke_async(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.code().is_some() => Err(meaning(&self.place, &error)),
            Ok(Err(error)) => Err(unknown(meaning(&self.place, &error).to_string())),
            Err(_) => Err(unknown(self.silent().to_string())),
        }
    }

    async fn wait<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Result<T, Failure> {
        match timeout(self.limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(meaning(&self.place, &error)),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Failure {
        self.away(&format!("it did not answer within {:?}", self.limit))
    }
}

/// What an error means.
fn meaning(place: &str, error: &RedisError) -> Failure {
    let away = |reason: &str| Failure::away(format!("Redis at {place}: {reason}"));
    let refused = |reason: &str, advice: &str| {
        Failure::refused(format!("Redis at {place}: {reason}"), advice)
    };
    const LOGIN: &str = "it does not let us log in";
    const PASSWORD: &str = "correct the user in url and the password";
    if error.kind() == ErrorKind::AuthenticationFailed {
        return refused(LOGIN, PASSWORD);
    }
    let says = |text: &str| error.detail().is_some_and(|said| said.to_lowercase().contains(text));
    // In a script a right that is missing has no code of its own.
    let lacks_right = error.code() == Some("NOPERM") || says("user executing the script");
    match error.code() {
        None if error.is_io_error() => away(&format!("the connection is lost: {error}")),
        None => away("it gave an answer that makes no sense"),
        Some("NOAUTH" | "WRONGPASS") => refused(LOGIN, PASSWORD),
        Some(_) if lacks_right => refused(
            "it lacks a right",
            "let the user run the commands that docs/connect/redis.md lists, on the streams and on galgo:positions:*",
        ),
        Some("WRONGTYPE") => refused(
            "a key is there already and is no stream",
            "name another one, or remove what is there",
        ),
        Some("MOVED" | "ASK" | "CROSSSLOT") => refused(
            "it is a cluster, in which a stream and the position of a lane cannot be changed in one step",
            "use a Redis that is no cluster",
        ),
        Some("OOM") => away("its memory is full (maxmemory)"),
        Some("READONLY") => away("it is a replica and takes no writes"),
        Some("MISCONF") => away("it cannot save to its disk and takes no writes (MISCONF)"),
        Some("NOREPLICAS") => away("it has too few replicas and takes no writes"),
        Some("LOADING") => away("it still reads its data"),
        Some("ERR") if says("unknown command") => {
            refused("it does not know a command that is needed", "use Redis 7.0 or newer")
        }
        Some(code) => away(&format!("it answered with an error ({code})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_database() {
        let access = |url: &str| RedisAccess::new(url, "n".to_owned(), CONNECT_LIMIT);
        assert_eq!(access("redis://h").unwrap().database, 0);
        assert_eq!(access("rediss://u@h:1/3").unwrap().database, 3);
        assert!(access("redis://h/x").unwrap_err().contains("no number of a database"));
        assert!(access("redis://:MARK@h").unwrap_err().starts_with("url holds a password"));
    }

    #[test]
    fn what_redis_says_is_not_repeated() {
        let said = |code: &str| {
            redis::make_extension_error(code.to_owned(), Some("'MARK' is unknown".to_owned()))
        };
        for code in ["ERR", "NOPERM", "WRONGTYPE", "OOM", "SOMETHING"] {
            let failure = format!("{:?}", meaning("h:1", &said(code)));
            assert!(!failure.contains("MARK"), "INV-MUTE: {failure}");
        }
        assert!(matches!(meaning("h:1", &said("NOPERM")), Failure::Refused { .. }));
        assert!(matches!(meaning("h:1", &said("OOM")), Failure::Away { .. }));
    }
}
