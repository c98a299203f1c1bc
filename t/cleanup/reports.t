#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Reports that somebody has asked for (sendmail -bv, -v), senders of recipients (VERP), and what the
# postmaster is told of (notify_classes).
use strict;
use warnings;
use Gatepost::Dsn;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(on => {
    rcpt => sub {
        my ($s, $arg) = @_;
        return '550 5.1.1 <x>: no such user' if $arg =~ /^<bad/;
        return '450 4.2.0 not now' if $arg =~ /^<later/;
        return '500 5.5.2 what do you mean' if $arg =~ /^<odd/;
        return;
    } }, keywords => [qw(PIPELINING 8BITMIME SIZE)]);
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, myorigin => 'client.test', message_size_limit => 100000,
    virtual_alias_domains => 'alias.test', virtual_alias_maps => 'inline:{ {list@alias.test = one@next.test two@next.test} }',
    smtpd_recipient_restrictions => 'inline:{ {refused@next.test = reject not wanted} }' =~ s/^/check_recipient_access /r . ', permit_mynetworks, reject',
    smtpd_authorized_verp_clients => '127.0.0.1',
    notify_classes => 'bounce, delay, policy, protocol, resource, software, data',
    bounce_notice_recipient => 'bounces@post.test', '2bounce_notice_recipient' => 'double@post.test',
    delay_notice_recipient => 'delays@post.test', error_notice_recipient => 'errors@post.test',
    delay_warning_time => '1s', enable_threaded_bounces => 'yes', maximal_queue_lifetime => '1d',
});
$gp->start;

sub to { my ($to) = @_; return grep { $_->{rcpts}[0] eq $to } $sink->messages }
sub wait_to { my ($to, $n) = @_; wait_until(20, sub { to($to) >= $n }); return to($to) }
sub sendmail {
    my ($input, @args) = @_;
    my $file = tempdir('mail') . '/in';
    spew($file, $input);
    return run_out('sh', '-c', 'exec "$0" "$@" <' . $file, build() . '/sbin/sendmail', '-C', $gp->dir, @args);
}
sub about { my ($dsn) = @_; return { map { ($_->{'final-recipient'} =~ s/^.*; ?//r) => $_->{action} } @{ $dsn->{recipients} } } }

# -bv: nothing is delivered, each recipient is asked for.
my ($status, $out) = sendmail('', '-f', 'bv@client.test', '-bv', 'good@next.test', 'bad@next.test', 'later@next.test', 'list@alias.test');
is($status, 0, '-bv') or diag $out;
my ($m) = wait_to('bv@client.test', 1);
my $dsn = Gatepost::Dsn::parse($m);
is_deeply(about($dsn), { 'good@next.test' => 'deliverable', 'bad@next.test' => 'undeliverable', 'later@next.test' => 'undeliverable',
    'one@next.test' => 'deliverable', 'two@next.test' => 'deliverable' }, '-bv: what would become of each') or diag explain($dsn);
is($dsn->{header}{subject}, 'Mail Delivery Status Report', '-bv: its subject');
like($dsn->{text}, qr/no such user/, '-bv: what was said');
ok($gp->drained(20), '-bv: it is over');
is(scalar(to('good@next.test')), 0, '-bv: nobody got anything');
is(scalar(to('bounces@post.test')), 0, '-bv: it is no bounce');
ok($gp->log_lines(qr/to=<good\@next\.test>, .* status=deliverable /), '-bv: the log') or diag tail($gp->{log}, 20);
ok($gp->log_lines(qr/to=<bad\@next\.test>, .* status=undeliverable /), '-bv: the log');

# -v: delivered, and a report of the first attempt, once.
($status, $out) = sendmail("Subject: v\n\nbody\n", '-f', 'v@client.test', '-v', 'good@next.test', 'bad@next.test', 'later@next.test');
is($status, 0, '-v') or diag $out;
wait_to('v@client.test', 2);
my ($trace)  = grep { $_->{content} =~ /^Subject: Mail Delivery Status Report/m } to('v@client.test');
my ($bounce) = grep { $_->{content} =~ /^Subject: Undelivered/m } to('v@client.test');
$dsn = Gatepost::Dsn::parse($trace) if $trace;
is_deeply(about($dsn), { 'good@next.test' => 'relayed', 'bad@next.test' => 'failed', 'later@next.test' => 'delayed' }, '-v: what became of each')
    or diag explain($dsn);
ok($bounce, '-v: what failed is returned as always');
my $tries = () = $gp->log_lines(qr/to=<later\@next\.test>, .*status=deferred/);
ok(wait_until(20, sub { $gp->log_lines(qr/to=<later\@next\.test>, .*status=deferred/) > $tries + 1 }), '-v: it is tried on');
is(scalar(grep { $_->{content} =~ /^Subject: Mail Delivery Status Report/m } to('v@client.test')), 1, '-v: one report');
like(Gatepost::Dsn::mutt($trace), qr/<later\@next\.test>/, '-v: mutt shows it');

# The delay of it is told of, to the postmaster, too.
my ($delay) = wait_to('delays@post.test', 1);
like($delay->{content}, qr/^Subject: Postmaster Warning: Delayed Mail\r$/m, 'delay: the postmaster');
is($delay->{from}, 'double-bounce@mx.example', 'delay: from nobody');
wait_to('v@client.test', 3);
$gp->tool('gateq', 'delete', 'ALL');
ok($gp->drained(20), 'deleted');

# -N, -R, -V.
sendmail("Subject: n\n\nbody\n", '-f', 'n@client.test', '-N', 'success', '-R', 'hdrs', '-V', 'an id', 'good@next.test', 'bad@next.test');
($m) = wait_to('n@client.test', 1);
ok($gp->drained(20), '-N: over');
is(scalar(to('n@client.test')), 1, '-N success: no word of failures');
$dsn = Gatepost::Dsn::parse($m);
is_deeply(about($dsn), { 'good@next.test' => 'relayed' }, '-N success: of success');
is($dsn->{message}{'original-envelope-id'}, 'an id', '-V');

# VERP: one sender a recipient, one bounce a sender.
($status, $out) = sendmail("Subject: verp\n\nbody\n", '-f', 'owner@client.test', '-XV', map {"$_\@next.test"} qw(v1 v2 bad1 bad2));
is($status, 0, '-XV') or diag $out;
wait_to("owner+bad$_=next.test\@client.test", 1) for 1, 2;
ok($gp->drained(20), 'VERP: over');
is_deeply([map { $_->{from} } to("v$_\@next.test")], ["owner+v$_=next.test\@client.test"], "VERP: the sender for v$_") for 1, 2;
for my $k (1, 2) {
    my @n = to("owner+bad$k=next.test\@client.test");
    is(scalar @n, 1, "VERP: one bounce for bad$k");
    is_deeply(about(scalar Gatepost::Dsn::parse($n[0])), { "bad$k\@next.test" => 'failed' }, 'VERP: about that one');
}
is(scalar(to('owner@client.test')), 0, 'VERP: nothing to the plain sender');
my $c = $gp->session;
ok(exists $c->{ehlo}{XVERP}, 'XVERP is offered');
is($c->cmd('MAIL FROM:<own@client.test> XVERP=--')->{code}, 250, 'XVERP with delimiters');
$c->cmd('RCPT TO:<x1@next.test>');
$c->cmd('DATA');
is($c->cmd("Subject: x\r\n\r\n.")->{code}, 250, 'sent');
is((wait_to('x1@next.test', 1))[0]{from}, 'own-x1-next.test@client.test', 'XVERP: the sender');
like($c->cmd('MAIL FROM:<own@client.test> XVERP=ab')->{text}, qr/^501 5\.5\.4 .*two characters from -=\+/, 'other delimiters');
is($c->cmd('MAIL FROM:<own@client.test> XVERP=+')->{code}, 501, 'one delimiter');
like($c->cmd('MAIL FROM:<> XVERP')->{text}, qr/^503 5\.5\.4 .*non-null sender/, 'without a sender');
is($c->cmd('MAIL FROM:<own@client.test> XVERIFY')->{code}, 555, 'reports are for local users');
is($c->cmd('MAIL FROM:<own@client.test> XTRACE')->{code}, 555, 'both kinds');
$c->quit;
$gp->set(disable_verp_bounces => 'yes');
$gp->reload;
sendmail("Subject: verp\n\nbody\n", '-f', 'all@client.test', '-XV', map {"$_\@next.test"} qw(bad3 bad4));
($m) = wait_to('all@client.test', 1);
is_deeply(about(scalar Gatepost::Dsn::parse($m)), { 'bad3@next.test' => 'failed', 'bad4@next.test' => 'failed' }, 'disable_verp_bounces: one for all');
ok($gp->drained(20), 'over');

# Classes: bounce, 2bounce.
my $before = to('bounces@post.test');
$gp->mail('cls@client.test', 'bad@next.test', "Message-ID: <thread-1\@client.test>\r\nSubject: cls\r\n\r\nbody\r\n");
($m) = wait_to('cls@client.test', 1);
$dsn = Gatepost::Dsn::parse($m);
is($dsn->{header}{references}, '<thread-1@client.test>', 'threaded: References');
is($dsn->{header}{'in-reply-to'}, '<thread-1@client.test>', 'threaded: In-Reply-To');
wait_to('bounces@post.test', $before + 1);
my $copy = (to('bounces@post.test'))[-1];
like($copy->{content}, qr/^Subject: Postmaster Copy: Undelivered Mail\r$/m, 'bounce: a copy for the postmaster');
unlike($copy->{content}, qr/^body\r$/m, 'bounce: without the body');
$gp->mail('', 'bad@next.test', "Subject: two\r\n\r\nbody two\r\n");
($m) = wait_to('double@post.test', 1);
is($m->{from}, 'double-bounce@mx.example', '2bounce: the sender of what is never returned');
like($m->{content}, qr/^body two\r$/m, '2bounce: with all of it');
$gp->mail('double-bounce@mx.example', 'bad@next.test', "Subject: three\r\n\r\n");
ok(wait_until(20, sub { $gp->log_lines(qr/warning: [0-9A-F]+: undeliverable postmaster notification discarded/) }), 'a third is dropped');
ok($gp->drained(20), 'over');

# Transcripts of smtpd: policy, protocol; of smtp-client: protocol.
my $errors = to('errors@post.test');
is($errors, 1, 'the session with bad options above has had one');
$c = $gp->session;
$c->cmd('MAIL FROM:<t@client.test>');
is($c->cmd('RCPT TO:<refused@next.test>')->{code}, 554, 'refused by policy');
$c->cmd('NONSENSE');
$c->cmd('AUTH PLAIN AGFAYgBzZWNyZXQ=');
$c->cmd('c2VjcmV0');
is(scalar(to('errors@post.test')), $errors, 'nothing before the session ends');
$c->quit;
$m = (wait_to('errors@post.test', ++$errors))[-1];
like($m->{content}, qr/^Subject: Gatepost SMTP server: errors from \S*\[127\.0\.0\.1\]\r$/m, 'policy: a transcript');
is($m->{from}, 'double-bounce@mx.example', 'from nobody');
like($m->{content}, qr/^Transcript of session follows\.\r$/m, 'its text');
like($m->{content}, qr/^ In:  RCPT TO:<refused\@next\.test>\r\n Out: 554 5\.7\.1 .*not wanted/m, 'what was said');
like($m->{content}, qr/^ In:  NONSENSE\r\n Out: 5/m, 'all of it');
unlike($m->{content}, qr/AGFAYgBzZWNyZXQ|c2VjcmV0/, 'but no password, nor what may be one behind AUTH');
$gp->mail('a@client.test', 'good@next.test', "Subject: fine\r\n\r\n");
ok($gp->drained(20), 'a good session');
is(scalar(to('errors@post.test')), $errors, 'has no transcript');

# One that goes away in the middle of it, and one that makes too many mistakes.
$c = $gp->session;
$c->cmd('MAIL FROM:<t@client.test>');
$c->cmd('RCPT TO:<refused@next.test>');
$c->close;
$m = (wait_to('errors@post.test', ++$errors))[-1];
like($m->{content} // '', qr/^Session aborted, reason: lost connection\r$/m, 'why it ended');

# smtp-client: a server that does not know a command of ours.
$gp->mail('cl@client.test', 'odd@next.test', "Subject: odd\r\n\r\n");
$m = (wait_to('errors@post.test', ++$errors))[-1];
my $port = $sink->port;
like($m->{content} // '', qr/^Subject: Gatepost SMTP client: errors from 127\.0\.0\.1\[127\.0\.0\.1\]:$port\r$/m, 'of the client');
like($m->{content} // '', qr/^ Out: RCPT TO:<odd\@next\.test>.*^ In:  500 5\.5\.2 what do you mean\r$/ms, 'what was said');
ok($gp->drained(20), 'over');

# Without the class nothing of it.
$gp->set(notify_classes => 'bounce');
$gp->restart;
$c = $gp->session;
$c->cmd('NONSENSE');
$c->cmd('MAIL FROM:<t@client.test>');
$c->cmd('RCPT TO:<refused@next.test>');
$c->quit;
$gp->mail('cl@client.test', 'odd@next.test', "Subject: odd\r\n\r\n");
ok($gp->drained(20), 'over');
is(scalar(to('errors@post.test')), $errors, 'no class, no transcript');

$gp->stop;
done_testing;
