#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Mail from an SMTP client through a whole instance to a next hop, and what goes wrong on the way.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(
    on => {
        rcpt => sub {
            my ($s, $arg) = @_;
            return '550 5.1.1 <x>: no such user' if $arg =~ /^<bad/;
            return '450 4.2.0 not now' if $arg =~ /^<later/ && $s->{sink}->is_set('busy');
            return;
        },
        dot => sub {
            my ($s, $content) = @_;
            return { drop => 1 } if $content =~ /^Subject: cut/m && $s->{sink}->is_set('cut');
            return '554 5.7.1 content refused' if $content =~ /^Subject: spam/m;
            return;
        },
    });
my $texts = tempdir('texts') . '/bounce.cf';
spew($texts, "failure_template = <<END\nFrom: Post <post>\nSubject: Zurueck\n\nMail by \$myhostname:\n.\nEND\n");
my $gp = Gatepost::Instance->new(main => { relayhost => '[127.0.0.1]:' . $sink->port, bounce_template_file => $texts });
$gp->start;

sub message {
    my ($subject, $body) = @_;
    return "From: a\@client.test\r\nTo: b\@next.test\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        . "Message-ID: <$subject\@client.test>\r\nSubject: $subject\r\n\r\n" . ($body // "hello\r\n");
}

# One message, and the log lines that tools look for.
my $c = $gp->session;
ok($c, 'a session');
ok(exists $c->{ehlo}{$_}, "EHLO says $_") for qw(PIPELINING SIZE 8BITMIME CHUNKING ENHANCEDSTATUSCODES DSN);
my $r = $c->mail('a@client.test', 'b@next.test', message('one'));
is($r->{code}, 250, 'accepted');
my ($id) = $r->{text} =~ /^250 2\.0\.0 Ok: queued as ([0-9A-F]{6,})$/;
ok($id, 'the reply names the queue id') or diag $r->{text};
my ($m) = $sink->wait_messages(1);
is($m->{from}, 'a@client.test', 'sender');
is_deeply($m->{rcpts}, ['b@next.test'], 'recipient');
like($m->{content}, qr/\AReceived: from client\.example \(\S+ \[127\.0\.0\.1\]\)\r\n\s+by mx\.example \(Gatepost\) with E?SMTPS? id $id\r\n/,
    'Received');
is(substr($m->{content}, -length message('one')), message('one'), 'the content is what was sent');
my $day = qr/^\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ gatepost/;
$gp->wait_log(qr/$day\/qmgr\[\d+\]: $id: removed$/, 'log: removed');
my $smtp = 'relay=127\.0\.0\.1\[127\.0\.0\.1\]:' . $sink->port;
for (["smtpd\\[\\d+\\]: connect from \\S+\\[127\\.0\\.0\\.1\\]", 'connect'],
    ["smtpd\\[\\d+\\]: $id: client=\\S+\\[127\\.0\\.0\\.1\\]", 'client'],
    ["cleanup\\[\\d+\\]: $id: message-id=<one\@client\\.test>", 'message-id'],
    ["qmgr\\[\\d+\\]: $id: from=<a\@client\\.test>, size=\\d+, nrcpt=1 \\(queue active\\)", 'active'],
    ["smtp\\[\\d+\\]: $id: to=<b\@next\\.test>, $smtp, delay=[\\d.]+, delays=[\\d./]+, dsn=2\\.0\\.0, "
            . "status=sent \\(250 2\\.0\\.0 Ok: queued as S1\\)", 'sent']) {
    ok(scalar($gp->log_lines(qr/$day\/$_->[0]$/)), "log: $_->[1]");
}

# Many messages in one session reach the next hop in few.
my $sessions = $sink->sessions;
is($c->mail('a@client.test', "r$_\@next.test", message("many$_"))->{code}, 250, "message $_") for 1 .. 10;
$c->quit;
$sink->wait_messages(11);
ok($gp->drained, 'the queue is empty');
cmp_ok($sink->sessions - $sessions, '<', 11, 'connections are used again');

# Recipients: some accepted, some refused for good, some for now.
my $before = $sink->count;
is($gp->mail('a@client.test', ['good@next.test', 'bad@next.test'], message('mixed'))->{code}, 250, 'mixed');
my @m = $sink->wait_messages($before + 2);
my ($good) = grep { $_->{content} =~ /^Subject: mixed\r/m && $_->{from} ne '' } @m;
is_deeply($good->{rcpts}, ['good@next.test'], 'the good one got it');
my ($dsn) = grep { $_->{from} eq '' } @m;
is_deeply($dsn->{rcpts}, ['a@client.test'], 'a bounce goes to the sender');
like($dsn->{content}, qr/^Content-Type: multipart\/report; report-type=delivery-status;/mi, 'a report');
like($dsn->{content}, qr/^Final-Recipient: rfc822; ?bad\@next\.test\r$/mi, 'it names the recipient');
like($dsn->{content}, qr/^Status: 5\.1\.1\r$/mi, 'and the status');
like($dsn->{content}, qr/^Message-ID: <mixed\@client\.test>\r$/mi, 'and contains the headers');
$gp->wait_log(qr/smtp\[\d+\]: \w+: to=<bad\@next\.test>, .* dsn=5\.1\.1, status=bounced \(host /, 'log: bounced');
$gp->wait_log(qr/bounce\[\d+\]: \w+: sender non-delivery notification: \w+$/, 'log: notification');

$before = $sink->count;
is($gp->mail('a@client.test', 'x@next.test', message('spam'))->{code}, 250, 'refused after the dot');
@m = $sink->wait_messages($before + 1);
is($m[-1]{from}, '', 'bounced');
like($m[-1]{content}, qr/^From: Post <post\@mx\.example>\r?\nSubject: Zurueck\r?\n.*^Mail by mx\.example:\r?\n\.\r?\n\r?\n<\w+\@next\.test>/ms,
    'by the template of bounce_template_file, with its line of a dot');
$before = $sink->count;
is($gp->mail('', 'bad@next.test', message('double'))->{code}, 250, 'a null sender');
ok($gp->drained, 'a bounce that cannot be delivered ends');
is($sink->count, $before, 'and makes no other bounce');

$sink->flag('busy', 1);
is($gp->mail('a@client.test', ['now@next.test', 'later@next.test'], message('busy'))->{code}, 250, 'one must wait');
$gp->wait_log(qr/to=<later\@next\.test>, .* dsn=4\.2\.0, status=deferred \(host /, 'log: deferred');
my $listed;
wait_until(10, sub { $listed = join '', $gp->queue_list; $listed =~ /later/ && $listed !~ /now\@/ });
like($listed, qr/"address": ?"later\@next\.test"/, 'it is in the queue');
unlike($listed, qr/now\@next\.test/, 'the other is not');
$sink->flag('busy', 0);
ok($gp->drained, 'delivered when it can be');
is(scalar(grep { "@{ $_->{rcpts} }" eq 'later@next.test' } $sink->messages), 1, 'once');

# The connection is lost where the reply should be: nothing is certain, so it is sent again.
$sink->flag('cut', 1);
is($gp->mail('a@client.test', 'cut@next.test', message('cut'))->{code}, 250, 'connection cut at the end');
$gp->wait_log(qr/to=<cut\@next\.test>, .* status=deferred \(lost connection with .* while sending end of data/,
    'log: lost connection');
$sink->flag('cut', 0);
ok($gp->drained, 'sent again');

# The next hop goes away and comes back; so does the instance.
$sink->stop;
is($gp->mail('a@client.test', 'down@next.test', message('down'))->{code}, 250, 'accepted while it is down');
$gp->wait_log(qr/to=<down\@next\.test>, .* status=deferred \(connect to .*: Connection refused\)/, 'log: refused');
$gp->stop;
$sink->start;
$gp->start;
ok($gp->drained, 'delivered after both came back');
is(scalar(grep { "@{ $_->{rcpts} }" eq 'down@next.test' } $sink->messages), 1, 'once');

# No open relay: without a permit the reply is a refusal.
$gp->set(mynetworks => '127.0.0.9/32', smtpd_recipient_restrictions => '',
    relay_domains => 'ours.test');
$gp->reload;
my $other = wait_until(10, sub {
    my $s = $gp->session or return;
    $s->cmd('MAIL FROM:<a@client.test>');
    return $s->cmd('RCPT TO:<x@elsewhere.test>')->{code} >= 400 ? $s : undef;
});
ok($other, 'after the reload a stranger is refused') or $other = $gp->session;
for my $trick ('x@elsewhere.test', 'x%elsewhere.test@ours.test', 'elsewhere.test!x@ours.test',
    '@ours.test:x@elsewhere.test', '"x@elsewhere.test"@mx.example', 'x@[127.0.0.77]') {
    next if $trick =~ /ours\.test$/;
    my $code = $other->cmd("RCPT TO:<$trick>")->{code};
    ok($code == 554 || $code == 454 || $code == 550 || $code == 501, "refused: $trick") or diag $code;
}
is($other->cmd('RCPT TO:<x@ours.test>')->{code}, 250, 'our relay domain is accepted');
$other->quit;
$gp->stop;
is_deeply($gp->roles, {}, 'no process is left');
done_testing;
