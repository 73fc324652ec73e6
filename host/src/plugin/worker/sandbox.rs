//! What a worker gives up before it loads its plugin: the network, other programs, other processes, all files but its
//! own, and memory without end. What the kernel does not have is left out; what is in force is told by name. A library
//! may run code as soon as it is loaded, so all of this comes before.

use std::{collections::BTreeMap, fs};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::{
    process::{Resource, Rlimit, getpid, getrlimit, setrlimit},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::{
    message::{Load, Program},
    network,
};

/// Memory for a plugin that only translates, in bytes.
const MEMORY: u64 = 1 << 30;
/// Open files: its socket, its library, and what a library opens for a moment.
const FILES: u64 = 64;
/// Where libraries that its own one needs are found, and what the system's own library reads.
const READABLE: [&str; 12] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/dev/urandom",
];

/// Where programs, and what they are made of, are found, beside [`READABLE`].
const RUNNABLE: [&str; 7] =
    ["/bin", "/sbin", "/usr", "/lib", "/lib64", "/etc/alternatives", "/dev/null"];

/// Gives everything up that can be given up. Returns the names of what is in force.
pub(super) fn enter(load: &Load) -> Vec<String> {
    let assets = load.assets.iter().map(String::as_str);
    // Landlock opens files and seccomp forbids the calls for everything else, so they come last and in this order.
    let steps: [(&str, bool); 6] = [
        ("no_new_privs", set_no_new_privs(true).is_ok()),
        ("limits", limit(memory(load.threads.is_some()))),
        ("network", network::leave()),
        // One of them is the right to leave a network.
        ("capabilities", give_up_rights()),
        ("landlock", read_only(READABLE.into_iter().chain(assets), load.script.as_deref())),
        ("seccomp", forbid(load.script.is_some()).is_ok()),
    ];
    steps.into_iter().filter(|(_, done)| *done).map(|(name, _)| name.to_owned()).collect()
}

/// Gives up what only an administrator may do, and what whoever makes users of its own may do among these. To read files
/// is left, since an administrator's assets may be another user's. Whether that is all it can do.
pub(super) fn give_up_rights() -> bool {
    let Ok(before) = capabilities(None) else { return false };
    let left = before.permitted & CapabilitySet::DAC_READ_SEARCH;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: left, permitted: left, inheritable }).is_ok()
}

/// Bytes that it may have: most of the machine's for a plugin that computes.
fn memory(computes: bool) -> u64 {
    if !computes {
        return MEMORY;
    }
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024) / 4 * 3)
}

/// Sets every limit, or leaves it where it is lower already. Whether all are in force.
fn limit(memory: u64) -> bool {
    let limits = [
        (Resource::Core, 0),
        (Resource::Nofile, FILES),
        (Resource::Fsize, 0),
        (Resource::Data, memory),
    ];
    let set = limits.map(|(resource, most)| {
        let most = Some(getrlimit(resource).maximum.map_or(most, |before| before.min(most)));
        setrlimit(resource, Rlimit { current: most, maximum: most }).is_ok()
    });
    set.into_iter().all(|is_set| is_set)
}

/// Lets only these files and folders be read, those of the system and of a script's program also be run, and nothing be
/// written, connected to or signalled. Whether the kernel does that, at least for files.
fn read_only<'a>(paths: impl Iterator<Item = &'a str>, script: Option<&Program>) -> bool {
    let abi = ABI::V6;
    let restrict = || {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?;
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let mut ruleset = ruleset.add_rules(path_beneath_rules(paths, read))?;
        if let Some(Program { path, folder, belongings, .. }) = script {
            let own = [path, folder].into_iter().chain(belongings).map(String::as_str);
            let runnable = RUNNABLE.into_iter().chain(own);
            ruleset = ruleset.add_rules(path_beneath_rules(runnable, read | AccessFs::Execute))?;
        }
        ruleset.restrict_self()
    };
    let status: Result<_, landlock::RulesetError> = restrict();
    status.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

/// Calls that are refused whatever their arguments are.
const FORBIDDEN: [i64; 69] = [
    // The network, by whatever way.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_kcmp,
    // What landlock, or an older one, leaves of its user's files.
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    // Memory and messages that others could share, that no limit counts, and that outlive the process.
    libc::SYS_memfd_create,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_semctl,
    libc::SYS_semget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmdt,
    libc::SYS_shmget,
    // The system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_open_by_handle_at,
];

/// Older names of such calls, and the bit of the numbers that a kernel may take for the same calls.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_X86_64: [i64; 8] = [
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Forbids calls that a plugin which translates or computes has no use for. Threads are all that it may start.
///
/// A script is yet to become its program, often by way of another (`env`, say), so it may: since it can start no process,
/// it could only put another program in its own place, which inherits all of this and whose words are then judged.
pub(super) fn forbid(is_script: bool) -> Result<(), seccompiler::Error> {
    let is_clone_of_process = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(flag(libc::CLONE_THREAD)),
        0,
    )?;
    let own = u64::try_from(getpid().as_raw_pid()).unwrap_or_default();
    let is_not =
        |process| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, process);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.into_iter().map(|call| (call, Vec::new())).collect();
    if is_script {
        rules.remove(&libc::SYS_execve);
    }
    #[cfg(target_arch = "x86_64")]
    rules.extend(FORBIDDEN_X86_64.map(|call| (call, Vec::new())));
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_clone_of_process])?]);
    // Memory that is shared with nobody yet is counted by no limit.
    let is_shared = SeccompCondition::new(
        3,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(flag(libc::MAP_SHARED | libc::MAP_ANONYMOUS)),
        flag(libc::MAP_SHARED | libc::MAP_ANONYMOUS),
    )?;
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![is_shared])?]);
    // It is to die with its host.
    let signal_of_death = u64::try_from(libc::PR_SET_PDEATHSIG).unwrap_or_default();
    let sets_it =
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, signal_of_death)?;
    rules.insert(libc::SYS_prctl, vec![SeccompRule::new(vec![sets_it])?]);
    // To itself is how a process aborts.
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![is_not(own)?])?]);
    // Zero is itself, too.
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
    ] {
        rules.insert(call, vec![SeccompRule::new(vec![is_not(0)?, is_not(own)?])?]);
    }
    #[cfg(target_arch = "x86_64")]
    {
        let others: Vec<i64> = rules.keys().map(|call| call | X32).collect();
        rules.extend(others.into_iter().map(|call| (call, Vec::new())));
    }
    apply(rules, libc::EPERM)?;
    // Its flags are out of reach of a filter; without it the older call is used.
    apply([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)
}

fn apply(rules: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> Result<(), seccompiler::Error> {
    let error = SeccompAction::Errno(u32::try_from(error).unwrap_or(1));
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, error, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}

fn flag(flag: i32) -> u64 {
    u64::try_from(flag).unwrap_or_default()
}
