/* SPDX-License-Identifier: ISC */
#ifndef IPC_ROLE_H
#define IPC_ROLE_H

/*
 * Roles: who a process is to the others. A peer's role is what master said when it made the
 * connection, never what the peer says.
 */
enum role {
	ROLE_MASTER,
	ROLE_SMTPD,
	ROLE_CLEANUP,
	ROLE_QMGR,
	ROLE_KEEPER, /* qmgr's second process */
	ROLE_CLIENT, /* smtp-client: SMTP and LMTP */
	ROLE_LOCAL,  /* local, virtual, pipe */
	ROLE_VAULT,
	ROLE_RESOLVER,
	ROLE_TALLY,
	ROLE_MONITOR,
	ROLE_TOOL, /* a command: gatepost at master, gateq at qmgr */
	ROLE_NSS,  /* answers unix: tables by NSS: program nss of the folder local, as default_privs
		    */
	ROLE_COUNT
};

const char *role_name(enum role r);
/* The role of a program named in master.cf ("smtpd", "smtp-client", "virtual"); -1: none. */
int role_of_program(const char *program);
/*
 * Whether master connects workers of these two roles. The first argument is the side that asks for
 * work (smtpd → cleanup, cleanup → qmgr, qmgr → smtp-client); the connection carries both ways.
 */
_Bool role_connects(enum role from, enum role to);

#endif
