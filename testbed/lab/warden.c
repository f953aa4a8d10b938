// SPDX-License-Identifier: Apache-2.0
/*
 * The warden of one lab: the parent of its kernel process, so that the lab ends with its
 * controller whatever kills the controller, and leaves nothing behind.
 *
 *   warden FOLDER TERMINAL KERNEL ARG...
 *
 * FOLDER is the one host folder the guest may write to; "scratch:/PATH" asks for a new one
 * there, which is removed at the end, as FOLDER/.lab is in any case. In TMPDIR it makes another
 * folder, for the kernel's memory. It prints the names of both, NUL after each, and waits for one
 * byte on its standard input, the lifeline. Then it starts the kernel in FOLDER, which is
 * where the guest finds it. What the kernel says goes to FOLDER/.lab/console; its console is
 * the device TERMINAL, or nothing for "-". When the kernel has ended, the warden prints its
 * status and waits for the end of the lifeline, so that the controller can read what is in
 * FOLDER; the end of the lifeline before that kills the kernel.
 *
 * The host (Landlock) lets the kernel write below these two folders only: the guest's root could
 * otherwise leave FOLDER over a symbolic link that takes the place of a folder which hostfs knows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRATCH "scratch:"
#define LIFELINE 0
#define CONSOLE_LOG ".lab/console"

/* <linux/landlock.h> and the numbers in <sys/syscall.h> are younger than some C libraries. */
#define LANDLOCK_CREATE_RULESET 444
#define LANDLOCK_ADD_RULE 445
#define LANDLOCK_RESTRICT_SELF 446
#define LANDLOCK_VERSION 1U
#define LANDLOCK_BENEATH 1

#define WRITE_FILE (1ULL << 1)
#define REMOVE_FILE (1ULL << 5)
#define MAKE_REG (1ULL << 8)
#define DEVICES (1ULL << 6 | 1ULL << 11) /* make character and block devices */
#define FROM_VERSION_1 (WRITE_FILE | 0x1ff0ULL) /* remove and make whatever there is */
#define FROM_VERSION_2 (1ULL << 13) /* move from one folder to another */
#define FROM_VERSION_3 (1ULL << 14) /* truncate */

struct landlock_beneath {
	unsigned long long allowed;
	int parent;
} __attribute__((packed));

static int die(const char *what, const char *name)
{
	fprintf(stderr, "%s %s: %s\n", what, name, strerror(errno));
	return 125;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st, (void)kind, (void)at;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Only the lifeline ends the warden; the kernel must not inherit that. */
static void set_signals(void (*handler)(int))
{
	static const int numbers[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		signal(numbers[i], handler);
}

static void connect_streams(const char *terminal)
{
	int is_terminal = strcmp(terminal, "-") != 0;
	int log = open(CONSOLE_LOG, O_WRONLY | O_CREAT | O_APPEND, 0644);
	int console = open(is_terminal ? terminal : "/dev/null", O_RDWR | O_NOCTTY);

	if (log < 0 || console < 0)
		_exit(die("cannot open", log < 0 ? CONSOLE_LOG : terminal));
	dup2(console, 0);
	dup2(is_terminal ? console : log, 1);
	dup2(log, 2);
	closefrom(3);
}

static void allow(int rules, const char *place, unsigned long long rights)
{
	struct landlock_beneath beneath = { rights, open(place, O_PATH | O_CLOEXEC) };

	/* Where this fails the kernel can write less, not more. */
	syscall(LANDLOCK_ADD_RULE, rules, LANDLOCK_BENEATH, &beneath, 0);
	close(beneath.parent);
}

/* A host without Landlock (before Linux 5.13) gives no such protection. */
static void confine(const char *memory)
{
	long version = syscall(LANDLOCK_CREATE_RULESET, NULL, 0, LANDLOCK_VERSION);
	unsigned long long handled = FROM_VERSION_1 | (version >= 2 ? FROM_VERSION_2 : 0) |
				     (version >= 3 ? FROM_VERSION_3 : 0);
	int rules;

	if (version < 1)
		return;
	rules = syscall(LANDLOCK_CREATE_RULESET, &handled, sizeof(handled), 0);
	allow(rules, ".", handled & ~DEVICES);
	allow(rules, memory, handled & (WRITE_FILE | REMOVE_FILE | MAKE_REG | FROM_VERSION_3));
	allow(rules, "/dev/null", WRITE_FILE);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(LANDLOCK_RESTRICT_SELF, rules, 0))
		_exit(die("cannot confine", "the kernel"));
	close(rules);
}

static void run_kernel(pid_t warden, const char *terminal, char **argv)
{
	struct rlimit no_core = { 0, 0 }, files;

	setpgid(0, 0);
	set_signals(SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != warden)
		_exit(125);
	connect_streams(terminal);
	setrlimit(RLIMIT_CORE, &no_core);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	confine(getenv("TMPDIR"));
	execv(argv[0], argv);
	_exit(die("cannot execute", argv[0]));
}

/* Waits for the kernel's end or the lifeline's, whichever comes first. */
static int watch(pid_t kernel)
{
	struct pollfd fds[2] = {
		{ .fd = LIFELINE, .events = POLLIN },
		{ .fd = syscall(SYS_pidfd_open, kernel, 0), .events = POLLIN },
	};
	int status = 0;
	char byte;

	while (fds[1].fd >= 0 && poll(fds, 2, -1) >= 0) {
		if (fds[1].revents)
			break;
		if (fds[0].revents && read(LIFELINE, &byte, 1) <= 0)
			break;
	}
	kill(kernel, SIGKILL);
	waitpid(kernel, &status, 0);
	/* The guest's processes are in the kernel's group; orphans come to us to be reaped. */
	kill(-kernel, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void await_end_of_lifeline(void)
{
	char byte;

	while (read(LIFELINE, &byte, 1) > 0)
		;
}

static int keep(const char *terminal, char **argv)
{
	pid_t warden = getpid(), kernel;
	int code;
	char byte;

	/* Nobody gave the word: the controller died before the kernel was started. */
	if (read(LIFELINE, &byte, 1) != 1)
		return 125;
	kernel = fork();
	if (!kernel)
		run_kernel(warden, terminal, argv);
	if (kernel < 0)
		return die("cannot start", argv[0]);
	code = watch(kernel);
	if (dprintf(1, "ended %d\n", code) > 0)
		await_end_of_lifeline();
	return code;
}

/* Makes a folder of our own in another one; returns 0 when it cannot be made. */
static int make_folder(char *name, size_t size, const char *parent)
{
	snprintf(name, size, "%s/mptcp-testbed-XXXXXX", parent);
	if (mkdtemp(name))
		return 1;
	die("cannot make a folder in", parent);
	return 0;
}

int main(int argc, char **argv)
{
	char *folder, scratch[4096], memory[4096];
	int is_scratch, code = 125;

	if (argc < 4 || !getenv("TMPDIR"))
		return 125;
	setsid();
	set_signals(SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	folder = argv[1];
	is_scratch = !strncmp(folder, SCRATCH, strlen(SCRATCH));
	if (is_scratch) {
		if (!make_folder(scratch, sizeof(scratch), folder + strlen(SCRATCH)))
			return code;
		folder = scratch;
	}
	if (chdir(folder) < 0)
		return die("cannot enter", folder);
	if (make_folder(memory, sizeof(memory), getenv("TMPDIR"))) {
		setenv("TMPDIR", memory, 1);
		if (dprintf(1, "%s%c%s%c", folder, 0, memory, 0) > 0)
			code = keep(argv[2], argv + 3);
		remove_tree(memory);
	}
	/* The letter box is ours also in a folder of the controller's. */
	remove_tree(".lab");
	if (is_scratch && !chdir("/"))
		remove_tree(folder);
	return code;
}
