//! A ClickHouse of our own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Service, free_ports, program, wait_until};

pub struct ClickHouse {
    service: Option<Service>,
    folder: PathBuf,
    port: u16,
}

const CONFIG: &str = "<yandex>
<logger><level>warning</level><console>1</console></logger>
<http_port>HTTP</http_port><tcp_port>TCP</tcp_port><listen_host>127.0.0.1</listen_host>
<path>FOLDER/data/</path><tmp_path>FOLDER/tmp/</tmp_path><users_config>FOLDER/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>5368709</mark_cache_size><mlock_executable>false</mlock_executable>
</yandex>";

const USERS: &str = "<yandex><profiles><default><max_memory_usage>1000000000</max_memory_usage></default></profiles>
<users><default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default>
<writer><password>s3cret</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></writer></users>
<quotas><default></default></quotas></yandex>";

impl ClickHouse {
    /// Starts one with its data in a folder; `None` where it is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        program("clickhouse-server", &["/usr/sbin", "/usr/bin"])?;
        let port = free_ports(2);
        let fill = |text: &str| {
            let text = text.replace("HTTP", &port.to_string());
            let text = text.replace("TCP", &(port + 1).to_string());
            text.replace("FOLDER", folder.to_str().unwrap())
        };
        std::fs::write(folder.join("config.xml"), fill(CONFIG)).unwrap();
        std::fs::write(folder.join("users.xml"), USERS).unwrap();
        let mut server = Self { service: None, folder: folder.to_owned(), port };
        server.start_again();
        Some(server)
    }

    /// Starts it on the data that is there.
    pub fn start_again(&mut self) {
        let program = program("clickhouse-server", &["/usr/sbin", "/usr/bin"]).unwrap();
        let mut command = Command::new(program);
        command.arg(format!("--config-file={}/config.xml", self.folder.display()));
        command.current_dir(&self.folder);
        self.service = Some(Service::start(&mut command, &self.folder.join("log")));
        wait_until("ClickHouse answers", || {
            self.try_query("SELECT 1").is_some_and(|it| it == "1\n")
        });
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.service.take().unwrap().kill();
    }

    pub fn id(&self) -> u32 {
        self.service.as_ref().unwrap().id()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it answers to a statement.
    pub fn query(&self, statement: &str) -> String {
        self.try_query(statement).expect("ClickHouse answers")
    }

    fn try_query(&self, statement: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = statement.len();
        let request = format!("POST / HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{statement}");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(head.contains(" 200 "), "{statement}: {answer}");
        Some(body.to_owned())
    }
}
