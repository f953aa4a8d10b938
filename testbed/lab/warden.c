// SPDX-License-Identifier: Apache-2.0
/*
 * The warden of one lab: the parent of its kernel process, so that the lab ends with its
 * controller whatever kills the controller, and leaves nothing behind.
 *
 *   warden FOLDER TERMINAL KERNEL ARG...
 *
 * FOLDER is the one host folder the guest may write to; "scratch:/PATH/" asks for a new one
 * there, which is removed at the end, as FOLDER/.lab is in any case. The warden prints the folder's name and waits for one
 * byte on its standard input, the lifeline. Then it starts the kernel in FOLDER, which is
 * where the guest finds it. What the kernel says goes to FOLDER/.lab/console; its console is
 * the device TERMINAL, or nothing for "-". When the kernel has ended, the warden prints its
 * status and waits for the end of the lifeline, so that the controller can read what is in
 * FOLDER; the end of the lifeline before that kills the kernel.
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

int main(int argc, char **argv)
{
	char *folder, scratch[4096];
	int is_scratch, code = 125;

	if (argc < 4)
		return 125;
	setsid();
	set_signals(SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	folder = argv[1];
	is_scratch = !strncmp(folder, SCRATCH, strlen(SCRATCH));
	if (is_scratch) {
		snprintf(scratch, sizeof(scratch), "%smptcp-testbed-XXXXXX",
			 folder + strlen(SCRATCH));
		folder = mkdtemp(scratch);
		if (!folder)
			return die("cannot make a folder in", argv[1] + strlen(SCRATCH));
	}
	if (chdir(folder) < 0)
		return die("cannot enter", folder);
	if (dprintf(1, "%s\n", folder) > 0)
		code = keep(argv[2], argv + 3);
	/* The letter box is ours also in a folder of the controller's. */
	remove_tree(".lab");
	if (is_scratch && !chdir("/"))
		remove_tree(folder);
	return code;
}
