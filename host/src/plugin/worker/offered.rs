//! What a worker would be confined by on this kernel. It is tried, not guessed from the kernel's number, since a container
//! may forbid what its kernel has; and it is tried so that nothing is given up for longer than the question takes. Only
//! users of its own cannot be tried here, which is where a worker of who is not root leaves the network.

use std::thread;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope,
};
use rustix::{
    process::{Resource, getrlimit, setrlimit},
    thread::set_no_new_privs,
};

use super::{
    network::could_be_left,
    sandbox::{forbid, give_up_rights},
};

/// What a worker could give up here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Rights that a program which it starts would add.
    pub no_new_privs: bool,
    /// Memory, files and their sizes without end.
    pub limits: bool,
    /// The machine's networks.
    pub network: bool,
    /// An administrator's rights.
    pub capabilities: bool,
    /// The newest version of landlock's interface that the kernel has, of those that a worker makes use of; zero is none.
    pub landlock: u8,
    /// System calls.
    pub seccomp: bool,
}

/// Landlock's versions that bring something that a worker gives up, the newest last.
const VERSIONS: [(u8, ABI); 6] =
    [(1, ABI::V1), (2, ABI::V2), (3, ABI::V3), (4, ABI::V4), (5, ABI::V5), (6, ABI::V6)];

impl Offered {
    /// Tries everything.
    pub fn here() -> Self {
        // These are a thread's own, and end with it.
        let trying = || {
            let network = could_be_left();
            let (alone, rights) = (set_no_new_privs(true).is_ok(), give_up_rights());
            (alone, network, rights, forbid(false).is_ok())
        };
        let tried = thread::spawn(trying).join().unwrap_or_default();
        let (no_new_privs, network, capabilities, seccomp) = tried;
        // Each stays what it is.
        let limited = [Resource::Core, Resource::Nofile, Resource::Fsize, Resource::Data];
        let limits = limited.into_iter().all(|one| setrlimit(one, getrlimit(one)).is_ok());
        let landlock = VERSIONS.into_iter().take_while(|(_, version)| has_landlock(*version));
        let landlock = landlock.last().map_or(0, |(number, _)| number);
        Self { no_new_privs, limits, network, capabilities, landlock, seccomp }
    }
}

/// Whether the kernel has all that this version can forbid. A set of rules that is made and not entered forbids nothing.
fn has_landlock(version: ABI) -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let (net, scope) = (AccessNet::from_all(version), Scope::from_all(version));
    let made = || {
        let mut ruleset = ruleset.handle_access(AccessFs::from_all(version))?;
        if !net.is_empty() {
            ruleset = ruleset.handle_access(net)?;
        }
        if !scope.is_empty() {
            ruleset = ruleset.scope(scope)?;
        }
        ruleset.create()
    };
    made().is_ok()
}
