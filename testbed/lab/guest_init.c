// SPDX-License-Identifier: Apache-2.0
/*
 * The first process of the lab's guest: mounts what a program expects to find and to write,
 * runs one command, hands out its exit status and powers off.
 *
 * A static C program, because a shell that spawns mount(8) ten times takes as long as the rest
 * of the boot. The host folder that the guest may write to is on SHARE. Its sub-folder .lab is
 * the letter box between the guest and the controller:
 *
 *   job              records ended by NUL, their kind is the first letter: c working folder,
 *                    e NAME=VALUE, x host folder to keep visible, m PLACE:FOLDER host folder
 *                    to show elsewhere, s standard input (none, file, chunks, console), a argument
 *   stdin            the whole standard input ("file"), or
 *   stdin.0, .1 ...  its parts ("chunks"); an empty part is its end
 *   stdout, stderr   what the command writes
 *   status           empty lines until "exit N", "signal N", "exec ERRNO" or "lost ERRNO" is
 *                    written over them
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHARE "/run/testbed"
#define BOX SHARE "/.lab/"
#define MAX_RECORDS 65536
#define MAX_EXPOSED 16

struct job {
	char *cwd, *input;
	char *argv[MAX_RECORDS], *env[MAX_RECORDS];
	char *exposed[MAX_EXPOSED], *places[MAX_EXPOSED]; /* host folder, and where it is shown */
	int argc, envc, exposed_count;
};

/* Why a part of the output has not reached the host; 0: all of it has. */
static int lost;

static struct job job = { .cwd = "/", .input = "none" };

static void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void finish(const char *what, int number)
{
	/* The controller has made the file, so that there is room for it on a full disk too. */
	int fd = open(BOX "status", O_WRONLY | O_CLOEXEC);

	dprintf(fd, "%s %d\n", what, number);
	fsync(fd);
	power_off();
}

static void attach(const char *kind, const char *where, const char *data)
{
	mkdir(where, 0755);
	if (mount(kind, where, kind, 0, data) < 0)
		dprintf(2, "cannot mount %s: %s\n", where, strerror(errno));
}

static void expose(char *folder, char *place)
{
	if (job.exposed_count == MAX_EXPOSED)
		return;
	job.exposed[job.exposed_count] = folder;
	job.places[job.exposed_count++] = place;
}

static void add_record(char *record)
{
	char *value = record + 1, *colon;

	switch (*record) {
	case 'c': job.cwd = value; break;
	case 's': job.input = value; break;
	case 'e':
		if (job.envc < MAX_RECORDS - 1)
			job.env[job.envc++] = value;
		if (!strncmp(value, "PATH=", 5))
			putenv(value); /* execvpe() searches ours */
		break;
	case 'a': if (job.argc < MAX_RECORDS - 1) job.argv[job.argc++] = value; break;
	case 'x': expose(value, value); break;
	case 'm':
		colon = strchr(value, ':');
		if (colon) {
			*colon = 0;
			expose(colon + 1, value);
		}
		break;
	}
}

/* Without the letter box nobody can be told anything: the controller sees the missing status. */
static void read_job(void)
{
	static char text[1 << 20];
	ssize_t size = 0, n;
	int fd;

	if (mount("share", SHARE, "hostfs", 0, "/proc/self/cwd") < 0)
		power_off();
	fd = open(BOX "job", O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
		size += n;
	close(fd);
	for (char *at = text; at < text + size; at += strlen(at) + 1)
		add_record(at);
}

static void make_path(const char *path)
{
	char part[4096];

	for (const char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		mkdir(part, 0755);
	}
	mkdir(path, 0755);
}

/* A host folder below one of the tmpfs is taken hold of before, and bound in again after. */
static void cover_writable(void)
{
	static const char *const covered[] = { "/tmp", "/var", NULL };
	int held[MAX_EXPOSED];
	char source[64];

	for (int i = 0; i < job.exposed_count; i++)
		held[i] = open(job.exposed[i], O_PATH | O_CLOEXEC);
	for (int i = 0; covered[i]; i++)
		attach("tmpfs", covered[i], "mode=0755");
	chmod("/tmp", 01777);
	for (int i = 0; i < job.exposed_count; i++) {
		if (held[i] < 0)
			continue;
		make_path(job.places[i]);
		snprintf(source, sizeof(source), "/proc/self/fd/%d", held[i]);
		if (mount(source, job.places[i], NULL, MS_BIND, NULL) < 0)
			dprintf(2, "cannot show %s: %s\n", job.exposed[i], strerror(errno));
		close(held[i]);
	}
}

static void make_folders(void)
{
	static const char *const folders[] = {
		"/run/lock", "/run/netns", "/var/cache", "/var/lib", "/var/log", "/var/spool", NULL
	};

	for (int i = 0; folders[i]; i++)
		mkdir(folders[i], 0755);
	mkdir("/var/tmp", 01777);
	chmod("/var/tmp", 01777);
	if (symlink("/run", "/var/run") < 0)
		dprintf(2, "cannot link /var/run\n");
}

static void make_devices(void)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" },
	};

	attach("devtmpfs", "/dev", "mode=0755");
	attach("tmpfs", "/dev/shm", "mode=1777");
	attach("devpts", "/dev/pts", "mode=0620,ptmxmode=0666");
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		if (symlink(links[i][0], links[i][1]) < 0)
			dprintf(2, "cannot link %s\n", links[i][1]);
}

/* The host's name servers are out of reach, and asking them costs seconds of virtual time. */
static void cover_resolver(void)
{
	static const char *const files[][3] = {
		{ "/run/hosts", "/etc/hosts", "127.0.0.1 localhost lab\n" },
		{ "/run/nsswitch.conf", "/etc/nsswitch.conf",
		  "passwd: files\ngroup: files\nshadow: files\nhosts: files\n"
		  "networks: files\nprotocols: files\nservices: files\n" },
		{ "/run/resolv.conf", "/etc/resolv.conf", "" },
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		int fd = open(files[i][0], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		dprintf(fd, "%s", files[i][2]);
		close(fd);
		/* What the host does not have is not missed. */
		mount(files[i][0], files[i][1], NULL, MS_BIND, NULL);
	}
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

static void set_up(void)
{
	attach("proc", "/proc", NULL);
	attach("sysfs", "/sys", NULL);
	attach("tmpfs", "/run", "mode=0755");
	mkdir(SHARE, 0755);
	read_job();
	make_devices();
	cover_writable();
	make_folders();
	cover_resolver();
	if (sethostname("lab", 3) < 0)
		dprintf(2, "cannot set the host name\n");
	loopback_up();
	umask(022);
}

/* Copies what there is; returns 0 at the end of the stream. */
static int relay(int from, int to)
{
	char buffer[65536];
	ssize_t n = read(from, buffer, sizeof(buffer));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!n)
		return 0;
	/* To the host's file now, for who waits there, but without the host's fsync. */
	if (write(to, buffer, n) != n ||
	    sync_file_range(to, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			    SYNC_FILE_RANGE_WAIT_AFTER) < 0)
		lost = errno ? errno : EIO;
	return 1;
}

/* Feeds the command the next part of the standard input; returns 0 after the last one. */
static int feed(int to)
{
	static int number;
	char name[64], buffer[65536];
	ssize_t n;
	int fd, any = 0;

	snprintf(name, sizeof(name), BOX "stdin.%d", number);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 1;
	number++;
	/* The pipe holds a whole part: this write cannot block while the command sleeps. */
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		any = 1;
		if (write(to, buffer, n) != n) {
			any = 0;
			break;
		}
	}
	close(fd);
	unlink(name);
	return any;
}

static int is_empty(int fd)
{
	int bytes = 0;

	return ioctl(fd, FIONREAD, &bytes) == 0 && bytes == 0;
}

static void take_console(void)
{
	int fd;

	setsid();
	fd = open("/dev/tty0", O_RDWR);
	ioctl(fd, TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
}

static void run_command(int in, int out, int err, int failed)
{
	sigset_t none;
	int number;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (!strcmp(job.input, "console")) {
		take_console();
	} else {
		setsid();
		dup2(in, 0);
		dup2(out, 1);
		dup2(err, 2);
	}
	if (chdir(job.cwd) < 0 && chdir("/") < 0)
		_exit(126);
	signal(SIGPIPE, SIG_DFL);
	execvpe(job.argv[0], job.argv, job.env);
	number = errno;
	if (write(failed, &number, sizeof(number)) < 0)
		_exit(126);
	_exit(127);
}

static int open_input(int pipe_end[2])
{
	if (!strcmp(job.input, "chunks") && !pipe2(pipe_end, O_CLOEXEC)) {
		fcntl(pipe_end[1], F_SETPIPE_SZ, 1 << 17);
		return pipe_end[0];
	}
	return open(strcmp(job.input, "file") ? "/dev/null" : BOX "stdin", O_RDONLY | O_CLOEXEC);
}

/* Relays until the command has ended; returns its wait status. */
static int attend(pid_t command, int input, int streams[2], int files[2])
{
	int is_virtual = getenv("REAL_TIME") == NULL, status = 0, ended = 0;
	/* In virtual time waiting for the host costs none of ours, so wait in long steps. */
	struct timespec step = { is_virtual, is_virtual ? 0 : 10000000 }, zero = { 0, 0 };
	sigset_t none;
	struct pollfd fds[2] = {
		{ .fd = streams[0], .events = POLLIN }, { .fd = streams[1], .events = POLLIN }
	};

	sigemptyset(&none);
	for (;;) {
		int n;

		if (input >= 0 && is_empty(input) && !feed(input)) {
			close(input);
			input = -1;
		}
		if (!ended)
			ended = waitpid(command, &status, WNOHANG) == command;
		/* What a background process of the command still holds open is not awaited. */
		n = ppoll(fds, 2, ended ? &zero : input >= 0 ? &step : NULL, &none);
		if (ended && n <= 0)
			return status;
		for (int i = 0; n > 0 && i < 2; i++)
			if (fds[i].revents && !relay(fds[i].fd, files[i]))
				fds[i].fd = -1;
		if (fds[0].fd < 0 && fds[1].fd < 0 && !ended && input < 0) {
			waitpid(command, &status, 0);
			return status;
		}
	}
}

static void on_child(int number)
{
	(void)number;
}

static int create(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

static void run_job(void)
{
	int input[2] = { -1, -1 }, out[2], err[2], failed[2], number, status;
	int streams[2], files[2] = { create(BOX "stdout"), create(BOX "stderr") };
	struct sigaction action = { .sa_handler = on_child };
	int in = open_input(input);
	sigset_t child;
	pid_t command;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) || pipe2(failed, O_CLOEXEC))
		finish("exec", errno);
	signal(SIGPIPE, SIG_IGN);
	/* The end of the command interrupts ppoll(), and nothing else. */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	sigaction(SIGCHLD, &action, NULL);
	command = fork();
	if (!command)
		run_command(in, out[1], err[1], failed[1]);
	close(out[1]);
	close(err[1]);
	close(failed[1]);
	if (in >= 0)
		close(in);
	if (read(failed[0], &number, sizeof(number)) == sizeof(number))
		finish("exec", number);
	streams[0] = out[0];
	streams[1] = err[0];
	status = attend(command, input[1], streams, files);
	close(files[0]);
	close(files[1]);
	if (lost)
		finish("lost", lost);
	if (WIFSIGNALED(status))
		finish("signal", WTERMSIG(status));
	finish("exit", WEXITSTATUS(status));
}

int main(void)
{
	set_up();
	if (!job.argc)
		finish("exec", EINVAL);
	run_job();
}
