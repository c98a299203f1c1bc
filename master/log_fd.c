/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/master.h"
#include "net/addr.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

static int open_syslog(void)
{
	struct net_addr a;
	int fd = -1;

	if (net_addr_unix("/dev/log", &a) != 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a.ss, a.len) != 0)
		fd_close(&fd);
	return fd;
}

int log_fd_open(bool *is_file)
{
	const char *path = master_str(P_maillog_file);

	*is_file = *path != '\0';
	if (!*is_file)
		return open_syslog();
	if (strcmp(path, "/dev/stdout") == 0)
		return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
}

static bool missing;

void log_fd_use(void)
{
	bool is_file = false;
	int fd = log_fd_open(&is_file);

	missing = fd < 0;
	if (fd >= 0)
		log_set_sink(is_file ? LOG_SINK_FILE : LOG_SINK_SYSLOG, fd);
}

bool log_fd_is_missing(void)
{
	return missing;
}
