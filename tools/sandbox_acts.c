/* SPDX-License-Identifier: ISC */
#include "tools/sandbox_acts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, TCP_PORT = 1, READ_IMPLIES_EXEC = 0x400000, X32 = 0x40000000 };

/* ---- files ---- */

static int open_file(pid_t outside)
{
	return open("/etc/passwd", O_RDONLY) >= 0 ? 0 : -1;
}

static int open_above(pid_t outside)
{
	return open("../../../../etc/passwd", O_RDONLY) >= 0 ? 0 : -1;
}

static int list_root(pid_t outside)
{
	return open("/", O_RDONLY | O_DIRECTORY) >= 0 ? 0 : -1;
}

static int create_file(pid_t outside)
{
	int fd = open("/sandbox-test", O_WRONLY | O_CREAT | O_EXCL, 0600);

	return fd >= 0 && unlink("/sandbox-test") == 0 ? 0 : -1;
}

static int make_directory(pid_t outside)
{
	return mkdirat(AT_FDCWD, "/sandbox-test", 0700) == 0 && rmdir("/sandbox-test") == 0 ? 0
											    : -1;
}

static int make_link(pid_t outside)
{
	return symlinkat("/", AT_FDCWD, "/sandbox-test") == 0 && unlink("/sandbox-test") == 0 ? 0
											      : -1;
}

static int change_mode(pid_t outside)
{
	return fchmodat(AT_FDCWD, "/", 0755, 0);
}

static int write_sysctl(pid_t outside)
{
	int fd = open("/proc/sys/kernel/hostname", O_WRONLY);

	return fd >= 0 ? 0 : -1;
}

static int open_by_handle(pid_t outside)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
	int mount = 0;

	if (name_to_handle_at(AT_FDCWD, "/", &h.handle, &mount, 0) != 0)
		return -1;
	return open_by_handle_at(AT_FDCWD, &h.handle, O_RDONLY) >= 0 ? 0 : -1;
}

static int change_root(pid_t outside)
{
	return chroot(".");
}

static int mount_one(pid_t outside)
{
	return mount("none", "/", "tmpfs", 0, NULL);
}

static int unmount_one(pid_t outside)
{
	return umount2("/proc", MNT_DETACH | MNT_EXPIRE);
}

/* ---- the network ---- */

static int make_socket(int family, int type)
{
	return socket(family, type | SOCK_CLOEXEC, 0) >= 0 ? 0 : -1;
}

static int unix_socket(pid_t outside)
{
	return make_socket(AF_UNIX, SOCK_STREAM);
}

static int udp_socket(pid_t outside)
{
	return make_socket(AF_INET, SOCK_DGRAM);
}

static int raw_socket(pid_t outside)
{
	return make_socket(AF_INET, SOCK_RAW);
}

static int packet_socket(pid_t outside)
{
	return make_socket(AF_PACKET, SOCK_RAW);
}

static int netlink_socket(pid_t outside)
{
	return make_socket(AF_NETLINK, SOCK_RAW);
}

static int vsock_socket(pid_t outside)
{
	return make_socket(AF_VSOCK, SOCK_STREAM);
}

/* An answer of the host itself means that the question went out. */
static int connect_tcp(pid_t outside)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(TCP_PORT),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return -1;
	return connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 || errno == ECONNREFUSED
		       ? 0
		       : -1;
}

static int listen_tcp(pid_t outside)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0)
		return -1;
	return listen(fd, 1);
}

/* ---- other processes ---- */

static int trace(pid_t outside)
{
	return ptrace(PTRACE_SEIZE, outside, NULL, NULL) == 0 ? 0 : -1;
}

static int read_memory(pid_t outside)
{
	char byte = 0;
	struct iovec here = {&byte, 1}, there = {&byte, 1};

	return process_vm_readv(outside, &here, 1, &there, 1, 0) == 1 ? 0 : -1;
}

static int signal_other(pid_t outside)
{
	return kill(outside, SIGCONT);
}

static int take_descriptor(pid_t outside)
{
	int fd = (int)syscall(SYS_pidfd_open, outside, 0);

	return fd >= 0 && syscall(SYS_pidfd_getfd, fd, 0, 0) >= 0 ? 0 : -1;
}

static int slow_other(pid_t outside)
{
	return setpriority(PRIO_PROCESS, (id_t)outside, 5);
}

static int limit_other(pid_t outside)
{
	struct rlimit l = {0, 0};

	return prlimit(outside, RLIMIT_CORE, &l, NULL);
}

static int fork_one(pid_t outside)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid > 0 ? 0 : -1;
}

static int make_thread(pid_t outside)
{
	/* No stack: the kernel refuses it behind the filter. */
	return syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FS, NULL, NULL,
		       NULL, NULL) >= 0 ||
			       errno == EINVAL
		       ? 0
		       : -1;
}

static int execute(pid_t outside)
{
	static char name[] = "/bin/true";
	char *const argv[] = {name, NULL};

	return execve(name, argv, NULL);
}

static int execute_memory(pid_t outside)
{
	static char name[] = "x", script[] = "#!/bin/true\n";
	char *const argv[] = {name, NULL};
	int fd = memfd_create("x", 0);

	if (fd < 0 || write(fd, script, sizeof(script) - 1) < 0)
		return -1;
	return (int)syscall(SYS_execveat, fd, "", argv, NULL, AT_EMPTY_PATH);
}

/* ---- code ---- */

static int map_code(pid_t outside)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED ? 0 : -1;
}

static int make_code(pid_t outside)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED ? mprotect(p, PAGE, PROT_READ | PROT_EXEC) : -1;
}

static int change_personality(pid_t outside)
{
	return syscall(SYS_personality, READ_IMPLIES_EXEC) >= 0 ? 0 : -1;
}

static int other_numbers(pid_t outside)
{
#ifdef __x86_64__
	return syscall(X32 | SYS_getuid) >= 0 ? 0 : -1;
#else
	errno = ENOSYS;
	return -1;
#endif
}

/* ---- rights ---- */

static int become_root(pid_t outside)
{
	return setresuid(0, 0, 0) == 0 && getuid() == 0 ? 0 : -1;
}

static int become_other(pid_t outside)
{
	return setresgid(1, 1, 1);
}

static int raise_capabilities(pid_t outside)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{1U << CAP_SETUID, 1U << CAP_SETUID, 0}, {0}};

	return (int)syscall(SYS_capset, &head, data);
}

static int new_namespace(pid_t outside)
{
	return unshare(CLONE_NEWUSER);
}

static int be_dumpable(pid_t outside)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int catch_sigsys(pid_t outside)
{
	struct sigaction a = {.sa_handler = SIG_IGN};

	return sigaction(SIGSYS, &a, NULL);
}

static int raise_limit(pid_t outside)
{
	struct rlimit l = {0, 0};

	return getrlimit(RLIMIT_NOFILE, &l) == 0 ? setrlimit(RLIMIT_NOFILE, &l) : -1;
}

/* ---- the kernel and the machine ---- */

static int ring(pid_t outside)
{
	char params[256] = {0};

	return syscall(SYS_io_uring_setup, 1, params) >= 0 ? 0 : -1;
}

static int load_bpf(pid_t outside)
{
	/* BPF_PROG_GET_NEXT_ID */
	char attr[128] = {0};

	return (int)syscall(SYS_bpf, 11, attr, sizeof(attr));
}

static int fault_memory(pid_t outside)
{
	return syscall(SYS_userfaultfd, 1) >= 0 ? 0 : -1;
}

static int keep_key(pid_t outside)
{
	return syscall(SYS_add_key, "user", "sandbox-test", "x", 1, -1) >= 0 ? 0 : -1;
}

static int measure(pid_t outside)
{
	/* A software event of this process. */
	uint32_t attr[32] = {1, sizeof(attr)};

	return syscall(SYS_perf_event_open, attr, 0, -1, -1, 0) >= 0 ? 0 : -1;
}

static int share_memory(pid_t outside)
{
	return syscall(SYS_shmget, 0, PAGE, 0600) >= 0 ? 0 : -1;
}

static int watch_files(pid_t outside)
{
	return syscall(SYS_inotify_init1, 0) >= 0 ? 0 : -1;
}

static int type_ahead(pid_t outside)
{
	/* TIOCSTI */
	return (int)syscall(SYS_ioctl, 0, 0x5412, "x");
}

static int stop_machine(pid_t outside)
{
	/* Without the magic numbers: it is asked for the right alone. */
	return syscall(SYS_reboot, 0, 0, 0, NULL) == 0 || errno == EINVAL ? 0 : -1;
}

static int set_clock(pid_t outside)
{
	struct timespec now;

	return clock_gettime(CLOCK_REALTIME, &now) == 0 ? clock_settime(CLOCK_REALTIME, &now) : -1;
}

static int load_module(pid_t outside)
{
	return (int)syscall(SYS_finit_module, -1, "", 0);
}

static int read_kernel_log(pid_t outside)
{
	/* SYSLOG_ACTION_SIZE_BUFFER */
	return syscall(SYS_syslog, 10, NULL, 0) >= 0 ? 0 : -1;
}

static int set_host_name(pid_t outside)
{
	/* Without a name: it is asked for the right alone. */
	return syscall(SYS_sethostname, NULL, 1) == 0 || errno == EFAULT ? 0 : -1;
}

#define MAY(s) (1ULL << SANDBOX_##s)

const struct sandbox_act sandbox_acts[] = {
	{"open a file", open_file, 0},
	{"open a file above the root directory", open_above, 0},
	{"list the root directory", list_root, MAY(TALLY)},
	{"create a file in the root directory", create_file, MAY(TALLY)},
	{"make a directory", make_directory, 0},
	{"make a symbolic link", make_link, 0},
	{"change a mode", change_mode, 0},
	{"write to /proc/sys", write_sysctl, 0},
	{"open a file by its handle", open_by_handle, 0},
	{"change the root directory", change_root, 0},
	{"mount a file system", mount_one, 0},
	{"unmount a file system", unmount_one, 0},
	{"make a UNIX socket", unix_socket, 0},
	{"make a UDP socket", udp_socket, MAY(RESOLVER)},
	{"make a raw socket", raw_socket, 0},
	{"make a packet socket", packet_socket, 0},
	{"make a netlink socket", netlink_socket, 0},
	{"make a VM socket", vsock_socket, 0},
	{"connect by TCP", connect_tcp, MAY(CLIENT) | MAY(RESOLVER)},
	{"listen for TCP", listen_tcp, 0},
	{"trace a process", trace, 0},
	{"read a process's memory", read_memory, 0},
	{"signal a process", signal_other, 0},
	{"take a process's descriptor", take_descriptor, 0},
	{"slow a process down", slow_other, 0},
	{"change a process's limits", limit_other, 0},
	{"fork", fork_one, MAY(TALLY) | MAY(CREW_KEEPER)},
	{"make a thread", make_thread, 0},
	{"execute a program", execute, 0},
	{"execute a program from memory", execute_memory, 0},
	{"map code", map_code, 0},
	{"make memory code", make_code, 0},
	{"make what is readable executable", change_personality, 0},
	{"use system calls of another kind", other_numbers, 0},
	{"become root", become_root, 0},
	{"become another group", become_other, 0},
	{"take capabilities", raise_capabilities, 0},
	{"make a namespace", new_namespace, 0},
	{"become readable for debuggers", be_dumpable, 0},
	{"catch SIGSYS", catch_sigsys, 0},
	{"set a limit", raise_limit, MAY(CREW_KEEPER)},
	{"use io_uring", ring, 0},
	{"use BPF", load_bpf, 0},
	{"use userfaultfd", fault_memory, 0},
	{"keep a key in the kernel", keep_key, 0},
	{"measure the processor", measure, 0},
	{"share memory", share_memory, 0},
	{"watch files", watch_files, 0},
	{"type into a terminal", type_ahead, 0},
	{"stop the machine", stop_machine, 0},
	{"set the clock", set_clock, 0},
	{"load a module", load_module, 0},
	{"read the kernel's log", read_kernel_log, 0},
	{"name the host", set_host_name, 0},
};
const size_t sandbox_acts_n = sizeof(sandbox_acts) / sizeof(*sandbox_acts);
