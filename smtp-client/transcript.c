/* SPDX-License-Identifier: ISC */
#include "smtp-client/transcript.h"

#include "conf/conf.h"
#include "mail/mailclass.h"
#include "mail/talk.h"
#include "server/server.h"

static bool is_wanted;

void transcript_init(void)
{
	is_wanted =
		(mail_classes(slice_str(conf_str(P_notify_classes))) & MAIL_CLASS_PROTOCOL) != 0;
}

static struct talk *talk_of(struct session *s)
{
	if (is_wanted && s->talk == NULL)
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

/* A command that the server does not know, or will not have in this form (RFC 5321, 4.2.1). */
static bool is_trouble(const struct session *s)
{
	int code = s->reply.code;

	return s->xact != NULL && ((code >= 500 && code < 510) || code == 555);
}

void transcript_in(struct session *s, bool is_bad)
{
	struct talk *t = talk_of(s);
	struct buf text = BUF_INIT(TALK_LIMIT);

	if (t == NULL)
		return;
	reply_add_text(&text, &s->reply);
	talk_add_lines(t, " In:  ", buf_slice(&text));
	if (is_bad || is_trouble(s))
		t->classes |= MAIL_CLASS_PROTOCOL;
	buf_clear(&text);
}

void transcript_end(struct session *s)
{
	if (s->talk != NULL)
		send_it(s);
	talk_free(&s->talk);
}
