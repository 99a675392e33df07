//! The hosts of the demo and the cables between them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use foobar_tests::session::Leftover;
use foobar_tests::{Bridge, Host};

use super::plan::{self, BACK, FRONT, Net, SERVERS};

/// All hosts. Dropped, they are gone, and with them what runs inside.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) client: Host,
    pub(crate) dns: Host,
    pub(crate) lb: Host,
    /// As in [`SERVERS`].
    pub(crate) webs: [Host; 2],
    pub(crate) router: Host,
    _resolver: Resolver,
}

impl Network {
    /// Makes the hosts and joins them.
    pub(crate) fn raise() -> Result<Self> {
        let router = Host::new("router")?;
        router.sysctl("net/ipv4/ip_forward", "1")?;
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        let front = Bridge::new(&router, "front")?;
        let back = Bridge::new(&router, "back")?;
        for (bridge, net) in [(&front, Net::Front), (&back, Net::Back)] {
            for prefix in net.prefixes(plan::ROUTER) {
                router.address(bridge.name(), &prefix)?;
            }
        }
        let join = |host: Host, net: Net, station: u8| -> Result<Host> {
            let (bridge, interface) = match net {
                Net::Front => (&front, FRONT),
                Net::Back => (&back, BACK),
            };
            bridge.plug(&host, interface)?;
            for prefix in net.prefixes(station) {
                host.address(interface, &prefix)?;
            }
            Ok(host)
        };
        let client = join(Host::new("client")?, Net::Front, plan::CLIENT)?;
        let dns = join(Host::new("dns")?, Net::Front, plan::DNS)?;
        let lb = join(join(Host::new("lb")?, Net::Front, plan::LB)?, Net::Back, plan::LB)?;
        let [web1, web2] = SERVERS;
        let webs = [
            join(Host::new(web1.name)?, Net::Back, web1.station)?,
            join(Host::new(web2.name)?, Net::Back, web2.station)?,
        ];
        for host in [&client, &dns, &lb] {
            default_routes(host, Net::Front)?;
        }
        for host in &webs {
            default_routes(host, Net::Back)?;
        }
        let resolver = Resolver::install(&client)?;
        Ok(Self { client, dns, lb, webs, router, _resolver: resolver })
    }
}

fn default_routes(host: &Host, net: Net) -> Result<()> {
    for router in net.addresses(plan::ROUTER) {
        let family = if router.is_ipv4() { "-4" } else { "-6" };
        host.ip(&format!("{family} route add default via {router}"))?;
    }
    Ok(())
}

/// The client's resolver settings, which `ip netns exec` puts in the place of the machine's own for
/// the command that it runs.
#[derive(Debug)]
struct Resolver {
    folder: PathBuf,
    /// Whether the folder of all such settings was made for ours.
    parent_is_ours: bool,
}

const SETTINGS: &str = "/etc/netns";

impl Resolver {
    fn install(client: &Host) -> Result<Self> {
        let folder = Path::new(SETTINGS).join(client.name());
        let parent_is_ours = !Path::new(SETTINGS).exists();
        if parent_is_ours {
            client.session().record(&Leftover::EmptyDirectory(SETTINGS.into()))?;
        }
        client.session().record(&Leftover::Directory(folder.clone()))?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let resolver = Self { folder, parent_is_ours };
        let [server, _] = Net::Front.addresses(plan::DNS);
        resolver.write("resolv.conf", &format!("nameserver {server}\n"))?;
        resolver.write("nsswitch.conf", "hosts: files dns\n")?;
        Ok(resolver)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let own = Leftover::Directory(self.folder.clone()).remove();
        let parent =
            if self.parent_is_ours { Leftover::EmptyDirectory(SETTINGS.into()).remove() } else { Ok(()) };
        for error in [own, parent].into_iter().filter_map(Result::err) {
            eprintln!("{error:#}");
        }
    }
}
