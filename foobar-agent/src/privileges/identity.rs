//! Who the agent is. Users of a directory service are not looked up: the agent starts before the network
//! is there.

use std::fs;

use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::PrivilegeError;

/// The user that the agent becomes where there is one.
const USUAL: &str = "foobar";
/// The user without any right, and its group, on every distribution.
const NOBODY: u32 = 65_534;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name, or its number where it has none.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

impl Identity {
    /// Whether it is root.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Makes the calling thread this user, in this one group.
    pub(super) fn assume(&self) -> Result<(), PrivilegeError> {
        if geteuid().as_raw() != 0 {
            return Ok(());
        }
        let kept = |what| move |error: rustix::io::Errno| PrivilegeError::Kept { what, source: error.into() };
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&[]).map_err(kept("supplementary groups"))?;
        set_thread_res_gid(gid, gid, gid).map_err(kept("the group root"))?;
        set_thread_res_uid(uid, uid, uid).map_err(kept("the user root"))
    }
}

/// Who runs this process.
pub fn current() -> Identity {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let named = users(&passwd()).find(|user| user.uid == uid).map(|user| user.name);
    Identity { name: named.unwrap_or_else(|| uid.to_string()), uid, gid }
}

/// Who the agent becomes: the user that the configuration names, else `foobar`, else `nobody`. Started by
/// another one than root, it stays that.
///
/// # Errors
/// When there is no such user, or the process cannot become it.
pub fn choose(wanted: Option<&str>) -> Result<Identity, PrivilegeError> {
    let current = current();
    if !current.is_root() {
        return match wanted {
            Some(wanted) if wanted != current.name && wanted != current.uid.to_string() => {
                Err(PrivilegeError::NotRoot { wanted: wanted.to_owned(), is: current.name })
            }
            _ => Ok(current),
        };
    }
    find(wanted, &passwd())
}

fn find(wanted: Option<&str>, passwd: &str) -> Result<Identity, PrivilegeError> {
    let named = |name: &str| users(passwd).find(|user| user.name == name);
    match wanted {
        Some(name) => match (named(name), name.parse()) {
            (Some(user), _) => Ok(user),
            (None, Ok(uid)) => {
                let user = users(passwd).find(|user| user.uid == uid);
                Ok(user.unwrap_or_else(|| Identity { name: name.to_owned(), uid, gid: uid }))
            }
            (None, Err(_)) => Err(PrivilegeError::NoSuchUser(name.to_owned())),
        },
        None => Ok(named(USUAL)
            .or_else(|| users(passwd).find(|user| user.uid == NOBODY))
            .unwrap_or_else(|| Identity { name: NOBODY.to_string(), uid: NOBODY, gid: NOBODY })),
    }
}

fn passwd() -> String {
    fs::read_to_string("/etc/passwd").unwrap_or_default()
}

/// The users in a file of the form of passwd(5).
fn users(passwd: &str) -> impl Iterator<Item = Identity> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        Some(Identity { name, uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n";

    fn chosen(wanted: Option<&str>, passwd: &str) -> (String, u32, u32) {
        let Identity { name, uid, gid } = find(wanted, passwd).unwrap();
        (name, uid, gid)
    }

    #[test]
    fn the_usual_user_is_foobar_where_there_is_one_and_else_nobody() {
        assert_eq!(chosen(None, USERS), ("nobody".to_owned(), 65_534, 65_534));
        let with = format!("{USERS}foobar:x:991:992::/:/bin/false\n");
        assert_eq!(chosen(None, &with), ("foobar".to_owned(), 991, 992));
        assert_eq!(chosen(None, ""), ("65534".to_owned(), 65_534, 65_534));
    }

    #[test]
    fn a_user_is_named_by_name_or_number() {
        assert_eq!(chosen(Some("root"), USERS), ("root".to_owned(), 0, 0));
        assert_eq!(chosen(Some("65534"), USERS).0, "nobody");
        assert_eq!(chosen(Some("4711"), USERS), ("4711".to_owned(), 4711, 4711));
        let error = find(Some("ann"), USERS).unwrap_err().to_string();
        assert!(error.contains("useradd") && error.contains("\"ann\""), "{error}");
    }
}
