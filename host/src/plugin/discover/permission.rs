//! Who could have changed a file: owner, group and world. A plugin's file, and the folder that it lies
//! in, must be changeable by nobody but the user and root, and nobody else may put another folder in its
//! place. Who owns a folder further above is not looked at: the user keeps files there and trusts him.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why somebody else could have changed a file.
#[derive(Debug, Error)]
pub enum PermissionRefusal {
    /// Anybody may write.
    #[error("{what} is writable by everybody; `chmod o-w` it")]
    World {
        /// "it" or the folder.
        what: String,
    },
    /// A group may write that others may be in.
    #[error(
        "{what} is writable by the group {group}, which is not its owner's private one; `chmod g-w` it"
    )]
    Group {
        /// "it" or the folder.
        what: String,
        /// The group's id.
        group: u32,
    },
    /// Another user owns it.
    #[error("{what} belongs to user {owner}, who is neither you nor root")]
    Owner {
        /// "it" or the folder.
        what: String,
        /// The owner's id.
        owner: u32,
    },
    /// A symlink that ends in another folder.
    #[error("a link that leads out of its folder, to {}", .0.display())]
    LeadsOut(PathBuf),
    /// The system would not say.
    #[error("cannot tell who may change {what}: {source}")]
    Unknown {
        /// The folder.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What the system says of users and groups.
#[derive(Debug)]
pub(super) struct Accounts {
    user: u32,
    passwd: String,
    group: String,
}

impl Accounts {
    /// The current user, and the local account files. One that cannot be read counts as empty: then a
    /// group is private if it has the number of the user.
    pub(super) fn of_system() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            user: rustix::process::geteuid().as_raw(),
            passwd: read("/etc/passwd"),
            group: read("/etc/group"),
        }
    }

    /// Checks a folder, and those above it. Its path must be canonical.
    pub(super) fn check(&self, directory: &Path) -> Result<(), PermissionRefusal> {
        for (depth, folder) in directory.ancestors().enumerate() {
            let what = format!("the folder {}", folder.display());
            let metadata = match std::fs::metadata(folder) {
                Ok(metadata) => metadata,
                Err(source) => return Err(PermissionRefusal::Unknown { what, source }),
            };
            let (mode, owner, group) = (metadata.mode(), metadata.uid(), metadata.gid());
            if depth == 0 {
                self.judge(&what, mode, owner, group)?;
            } else {
                self.judge_above(&what, mode, owner, group)?;
            }
        }
        Ok(())
    }

    /// Checks an open file.
    pub(super) fn check_metadata(&self, metadata: &Metadata) -> Result<(), PermissionRefusal> {
        self.judge("it", metadata.mode(), metadata.uid(), metadata.gid())
    }

    fn judge(
        &self,
        what: &str,
        mode: u32,
        owner: u32,
        group: u32,
    ) -> Result<(), PermissionRefusal> {
        if owner != self.user && owner != 0 {
            return Err(PermissionRefusal::Owner { what: what.to_owned(), owner });
        }
        self.judge_writers(what, mode, owner, group)
    }

    /// A folder above: whoever may write it may rename what is in it, unless the sticky bit forbids that.
    fn judge_above(
        &self,
        what: &str,
        mode: u32,
        owner: u32,
        group: u32,
    ) -> Result<(), PermissionRefusal> {
        if mode & 0o1000 != 0 { Ok(()) } else { self.judge_writers(what, mode, owner, group) }
    }

    fn judge_writers(
        &self,
        what: &str,
        mode: u32,
        owner: u32,
        group: u32,
    ) -> Result<(), PermissionRefusal> {
        let what = what.to_owned();
        if mode & 0o002 != 0 {
            return Err(PermissionRefusal::World { what });
        }
        if mode & 0o020 != 0 && !self.is_private(owner, group) {
            return Err(PermissionRefusal::Group { what, group });
        }
        Ok(())
    }

    /// Whether only `owner` is in `group`: it is the owner's primary group, named like the owner, nobody
    /// else's primary group, and lists no other member. Of an owner who has no account, equal numbers must do.
    fn is_private(&self, owner: u32, group: u32) -> bool {
        let users = || self.passwd.lines().filter_map(User::parse);
        let Some(user) = users().find(|user| user.id == owner) else { return owner == group };
        let others = users().any(|other| other.id != owner && other.group == group);
        let listed =
            self.group.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(
                |fields| matches!(fields.as_slice(), [_, _, id, ..] if id.parse() == Ok(group)),
            );
        let alone = match listed.as_deref() {
            Some([name, _, _, members, ..]) => {
                *name == user.name
                    && members.split(',').all(|member| member.is_empty() || member == user.name)
            }
            Some(_) => false,
            None => owner == group,
        };
        user.group == group && alone && !others
    }
}

struct User<'a> {
    name: &'a str,
    id: u32,
    group: u32,
}

impl<'a> User<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Self { name, id, group })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_and_root_may_be_able_to_change_a_file() {
        let accounts = Accounts {
            user: 1000,
            passwd: "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\nyou:x:1001:100::/:/bin/sh\nbot:x:1002:1003::/:/bin/sh\n".into(),
            group: "root:x:0:\nusers:x:100:me\nme:x:1000:me\nshared:x:1002:me,you\nbot:x:1003:\n".into(),
        };
        let table = [
            (0o755, 1000, 1000, true, "an ordinary file"),
            (0o775, 1000, 1000, true, "umask 002 and a private group"),
            (0o775, 1000, 100, false, "umask 002 and a common group"),
            (0o775, 1000, 1002, false, "a group with another member"),
            (0o757, 1000, 1000, false, "the world"),
            (0o755, 0, 0, true, "root's"),
            (0o775, 0, 0, true, "root's, and root is alone in its group"),
            (0o755, 1001, 100, false, "another user's"),
            (0o755, 1000, 100, true, "a group that may only read"),
        ];
        for (mode, owner, group, expected, what) in table {
            assert_eq!(accounts.judge("it", mode, owner, group).is_ok(), expected, "{what}");
        }
    }

    #[test]
    fn a_folder_above_may_belong_to_others_but_not_be_writable_by_them() {
        let accounts = Accounts { user: 1000, passwd: String::new(), group: String::new() };
        let table = [
            (0o755, 0, 0, true, "the root"),
            (0o755, 65534, 65534, true, "the root as a user namespace shows it"),
            (0o1777, 0, 0, true, "/tmp"),
            (0o777, 0, 0, false, "/tmp without its sticky bit"),
            (0o775, 0, 50, false, "a common group"),
            (0o1775, 0, 50, true, "a common group and the sticky bit"),
            (0o775, 1000, 1000, true, "umask 002 and a private group"),
        ];
        for (mode, owner, group, expected, what) in table {
            assert_eq!(accounts.judge_above("it", mode, owner, group).is_ok(), expected, "{what}");
        }
    }

    #[test]
    fn without_an_account_a_group_of_the_same_number_is_private() {
        let accounts = Accounts { user: 5000, passwd: String::new(), group: String::new() };
        assert!(accounts.judge("it", 0o775, 5000, 5000).is_ok());
        assert!(accounts.judge("it", 0o775, 5000, 0).is_err());
    }

    #[test]
    fn somebody_elses_primary_group_is_not_private() {
        let accounts = Accounts {
            user: 1,
            passwd: "a:x:1:7::/:\nb:x:2:7::/:\n".into(),
            group: "a:x:7:\n".into(),
        };
        assert!(accounts.judge("it", 0o775, 1, 7).is_err());
    }
}
