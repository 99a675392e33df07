//! The configurations under which our balancer, Nginx and HAProxy do the same work: terminate TLS 1.3
//! with one certificate, add the same four headers, spread over the same two backends round robin, keep
//! connections alive on both sides, on one core, without an access log.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

/// The site that is asked for; h2load connects to an address of its own.
pub(super) const HOST: &str = "www.foobar.com";
/// The file that every request asks for.
pub(super) const PATH: &str = "/answer";
/// The size of that file.
pub(super) const ANSWER_BYTES: usize = 512;

/// What all three share.
pub(super) struct Setting {
    pub(super) folder: PathBuf,
    pub(super) backends: [SocketAddr; 2],
    certificate: PathBuf,
    key: PathBuf,
    /// Both in one file, as HAProxy wants it.
    bundle: PathBuf,
    /// Where the agent pins its maps, which outlive it by design.
    pins: PathBuf,
}

impl Drop for Setting {
    fn drop(&mut self) {
        if self.pins.is_dir()
            && let Err(error) = fs::remove_dir_all(&self.pins)
        {
            eprintln!("cannot remove {}: {error}", self.pins.display());
        }
    }
}

impl Setting {
    /// Writes the certificate (ECDSA on P-256, the same for all) and what the backends serve.
    pub(super) fn create(folder: PathBuf, backends: [SocketAddr; 2]) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(vec![HOST.to_owned()])?;
        parameters.distinguished_name = DistinguishedName::new();
        let certificate = parameters.self_signed(&key)?.pem();
        let setting = Self {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            bundle: folder.join("bundle.pem"),
            pins: PathBuf::from(format!("/sys/fs/bpf/foobar-bench-{}", std::process::id())),
            folder,
            backends,
        };
        let key = key.serialize_pem();
        write(&setting.certificate, &certificate)?;
        write(&setting.key, &key)?;
        write(&setting.bundle, &format!("{certificate}{key}"))?;
        let site = setting.folder.join("site");
        fs::create_dir_all(&site)?;
        write(&site.join(PATH.trim_start_matches('/')), &"x".repeat(ANSWER_BYTES))?;
        Ok(setting)
    }

    /// A backend: Nginx that serves one small file.
    pub(super) fn backend(&self, index: usize) -> Result<PathBuf> {
        let server = format!(
            "server {{ listen {}; root {}; keepalive_requests 1000000000; }}",
            self.backends[index],
            self.folder.join("site").display()
        );
        self.nginx(&format!("backend{index}"), &server)
    }

    /// Nginx as the proxy.
    pub(super) fn nginx_proxy(&self, listen: SocketAddr) -> Result<PathBuf> {
        let [first, second] = self.backends;
        let text = format!(
            "upstream web {{ server {first}; server {second}; keepalive 64; keepalive_requests 1000000000; }}
             server {{
               listen {listen} ssl;
               server_name {HOST};
               ssl_certificate {};
               ssl_certificate_key {};
               ssl_protocols TLSv1.3;
               keepalive_requests 1000000000;
               location / {{
                 proxy_pass http://web;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_set_header Host $host;
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                 proxy_set_header X-Forwarded-Proto https;
                 proxy_set_header X-Request-Id $request_id;
               }}
             }}",
            self.certificate.display(),
            self.key.display()
        );
        self.nginx("nginx", &text)
    }

    fn nginx(&self, name: &str, servers: &str) -> Result<PathBuf> {
        let own = self.folder.join(name);
        fs::create_dir_all(&own)?;
        let own = own.display();
        let text = format!(
            "user root; daemon off; worker_processes 1; error_log stderr warn; pid {own}/pid;
             events {{ worker_connections 4096; }}
             http {{
               access_log off;
               client_body_temp_path {own}/body; proxy_temp_path {own}/proxy; fastcgi_temp_path {own}/fastcgi;
               uwsgi_temp_path {own}/uwsgi; scgi_temp_path {own}/scgi;
               {servers}
             }}\n"
        );
        let path = self.folder.join(format!("{name}.conf"));
        write(&path, &text)?;
        Ok(path)
    }

    /// HAProxy as the proxy.
    pub(super) fn haproxy(&self, listen: SocketAddr) -> Result<PathBuf> {
        let [first, second] = self.backends;
        let text = format!(
            "global\n  nbthread 1\n  maxconn 4096\n  ssl-default-bind-options ssl-min-ver TLSv1.3\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
             http-reuse always\n\
             frontend https\n  bind {listen} ssl crt {} alpn http/1.1\n  option forwardfor\n  \
             http-request set-header X-Forwarded-Proto https\n  \
             unique-id-format %[uuid()]\n  unique-id-header X-Request-Id\n  default_backend web\n\
             backend web\n  balance roundrobin\n  server web1 {first} check\n  server web2 {second} check\n",
            self.bundle.display()
        );
        let path = self.folder.join("haproxy.cfg");
        write(&path, &text)?;
        Ok(path)
    }

    /// Our agent as the proxy, and as nothing else.
    pub(super) fn agent(&self, listen: SocketAddr, metrics: SocketAddr) -> Result<PathBuf> {
        let [first, second] = self.backends;
        let folder = self.folder.display();
        let text = format!(
            r#"[host]
name = "bench"
run_dir = "{folder}/run"
state_dir = "{folder}/state"
pin_dir = "{pins}"

[balancer]
https = ["{listen}"]
workers = 1

[[balancer.certificates]]
cert = "{}"
key = "{}"

[[balancer.sites]]
hosts = ["{HOST}"]
pool = "web"

[[balancer.pools]]
name = "web"
algorithm = "round-robin"
[[balancer.pools.backends]]
name = "web1"
address = "{first}"
[[balancer.pools.backends]]
name = "web2"
address = "{second}"

[monitor]
listen = ["{metrics}"]
"#,
            self.certificate.display(),
            self.key.display(),
            pins = self.pins.display(),
        );
        let path = self.folder.join("foobar.toml");
        write(&path, &text)?;
        Ok(path)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
