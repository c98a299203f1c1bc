/* SPDX-License-Identifier: ISC */
#include "smtp-client/transcript.h"

#include "conf/conf.h"
#include "mail/mailclass.h"
#include "mail/talk.h"
#include "server/server.h"

static unsigned wanted; /* enum mail_class */

void transcript_init(void)
{
	wanted = mail_classes(slice_str(conf_str(P_notify_classes))) &
		 (MAIL_CLASS_PROTOCOL | MAIL_CLASS_DATA);
}

static struct talk *talk_of(struct session *s)
{
	if (wanted != 0 && s->talk == NULL)
		s->talk = talk_new();
	return s->talk;
}

static void send_it(const struct session *s)
{
	struct server_peer *qmgr = TAILQ_FIRST(server_peers(ROLE_QMGR));

	if (s->talk->classes == 0 || qmgr == NULL || s->relay == NULL)
		return;
	ipc_begin(qmgr->ipc, PROTO_TRANSCRIPT, 0);
	ipc_put_u64(qmgr->ipc, FIELD_FLAGS, s->talk->classes);
	ipc_put_str(qmgr->ipc, FIELD_NAME, s->lmtp ? "LMTP client" : "SMTP client");
	ipc_put_text(qmgr->ipc, FIELD_REMOTE, slice_first(slice_str(s->relay), 1024));
	ipc_put_bytes(qmgr->ipc, FIELD_BYTES, buf_slice(&s->talk->text));
	(void)ipc_end(qmgr->ipc);
}

void transcript_out(struct session *s, struct slice line)
{
	struct talk *t = talk_of(s);

	/* A kept session: each transaction has its own. */
	if (t != NULL && s->uses > 1 && slice_starts(line, "MAIL ")) {
		send_it(s);
		talk_free(&s->talk);
		t = talk_of(s);
	}
	if (t != NULL)
		talk_add(t, " Out: ", line);
}

void transcript_in(struct session *s)
{
	struct talk *t = talk_of(s);
	struct buf text = BUF_INIT(TALK_LIMIT);

	if (t == NULL)
		return;
	reply_add_text(&text, &s->reply);
	talk_add_lines(t, " In:  ", buf_slice(&text));
	buf_clear(&text);
}

void transcript_class(struct session *s, unsigned class)
{
	struct talk *t = (class & wanted) != 0 ? talk_of(s) : NULL;

	if (t != NULL)
		t->classes |= class & wanted;
}

/*
 * As Postfix: a command that the server does not know, or will not have in this form (RFC 5321,
 * 4.2.1), or a reply that is neither yes nor no.
 */
void transcript_failed(struct session *s)
{
	int code = s->reply.code;

	if (code < 400 || (code >= 500 && code < 510) || code == 555)
		transcript_class(s, MAIL_CLASS_PROTOCOL);
}

void transcript_end(struct session *s)
{
	if (s->talk != NULL)
		send_it(s);
	talk_free(&s->talk);
}
