#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# reject_unverified_sender and _recipient: probes up to RCPT through the whole queue, what is known
# of them over a restart, and that nobody but the log sees anything of a probe.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $rcpt = sub {
    my ($s, $line) = @_;
    return { reply => '550 5.1.1 nobody here' } if $line =~ /none@/;
    return { reply => '450 4.2.1 not now' } if $line =~ /busy@/;
    return { delay => 60 } if $line =~ /stuck/ && !$_[0]{sink}->is_set('free');
    return;
};
my $sink = Gatepost::Sink->new(on => { rcpt => $rcpt });
my $data = sub { "@{ $_[0]{rcpts} }" =~ /none@/ ? '554 5.1.1 nobody after all' : undef };
my $late = Gatepost::Sink->new(on => { data => $data });
my $late_lmtp = Gatepost::Sink->new(lmtp => 1, on => { data => $data });
my (%port, @master);
my %lists = (
    sender => 'reject_unverified_sender', recipient => 'reject_unverified_recipient',
    strict => 'reject_unverified_recipient -o unverified_recipient_reject_code=550 -o { unverified_recipient_reject_reason = no such user }',
    quick => 'reject_unverified_recipient -o address_verify_poll_count=1',
    soft => 'reject_unverified_recipient -o unverified_recipient_defer_code=250',
);
for my $name (sort keys %lists) {
    $port{$name} = free_port();
    my ($list, $more) = split / /, $lists{$name}, 2;
    push @master, "$port{$name} inet n - n - - smtpd -o smtpd_recipient_restrictions=$list " . ($more // '');
}
push @master, 'late unix - - n - - smtp-client -o smtp_address_verify_target=data',
    'latel unix - - n - - smtp-client -l -o lmtp_address_verify_target=data';
my $nowhere = 'smtp:[127.0.0.1]:' . free_port();
my $boxes = tempdir('boxes');
chmod 0777, $boxes;
my $gp = Gatepost::Instance->new(master => \@master, main => {
    smtpd_relay_restrictions => 'permit_mynetworks, reject', relayhost => '[127.0.0.1]:' . $sink->port,
    mydestination => 'local.test', local_recipient_maps => '', local_transport => 'error:5.1.1 no mailbox here',
    virtual_alias_maps => 'inline:{ alias@local.test=good@far.test }',
    transport_maps => 'inline:{ { gone.test = smtp:[127.0.0.1]:' . free_port() . ' }, { users.test = local: },'
        . ' { late.test = late:[127.0.0.1]:' . $late->port . ' }, { latel.test = latel:inet:127.0.0.1:' . $late_lmtp->port . ' } }',
    virtual_mailbox_domains => 'box.test', virtual_mailbox_maps => 'inline:{ joe@box.test=joe/ }',
    virtual_mailbox_base => $boxes, virtual_uid_maps => 'static:65534', virtual_gid_maps => 'static:65534',
    mail_spool_directory => "$boxes/",
    address_verify_transport_maps => '$transport_maps, inline:{ { way.test = smtp:[127.0.0.1]:' . $sink->port . ' } }',
    default_transport => $nowhere,
    address_verify_default_transport => 'smtp', sender_dependent_default_transport_maps => "inline:{ { good\@far.test = $nowhere } }",
    address_verify_sender_dependent_default_transport_maps => 'inline:{ { <> = error:5.1.1 not asked for } }',
    address_verify_relay_transport => 'error:5.1.1 not by this way', relay_domains => 'relay.test',
    address_verify_pending_request_limit => 4, address_verify_poll_delay => '1s', address_verify_poll_count => 20,
});
$gp->start;

sub ask {
    my ($list, $from, $to) = @_;
    my $c = $gp->client(port => $port{$list}, timeout => 60);
    $c->hello('h.test');
    $c->cmd("MAIL FROM:<$from>");
    my $reply = $c->cmd("RCPT TO:<$to>");
    $c->quit;
    return $reply->{text};
}
my @rows = (
    [recipient => '', 'good@far.test', '250 2\.1\.5 Ok'],
    [recipient => '', 'none@far.test', '450 4\.1\.1 <none@far\.test>: Recipient address rejected: unverified address: host 127\.0\.0\.1\[127\.0\.0\.1\] said: 550 5\.1\.1 nobody here \(in reply to RCPT TO command\)'],
    [strict => '', 'none@far.test', '550 5\.1\.1 <none@far\.test>: Recipient address rejected: undeliverable address: no such user'],
    [recipient => '', 'busy@far.test', '450 4\.1\.1 <busy@far\.test>: Recipient address rejected: unverified address: host 127\.0\.0\.1\[127\.0\.0\.1\] said: 450 4\.2\.1 not now \(in reply to RCPT TO command\)'],
    [soft => '', 'busy@far.test', '250 2\.1\.5 Ok'],
    [recipient => '', 'x@gone.test', '450 4\.1\.1 <x@gone\.test>: Recipient address rejected: unverified address: connect to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: Connection refused'],
    [recipient => '', 'alias@local.test', '250 2\.1\.5 Ok'],
    [recipient => '', 'user@local.test', '450 4\.1\.1 <user@local\.test>: Recipient address rejected: unverified address: no mailbox here'],
    [recipient => '', 'x@relay.test', '450 4\.1\.1 <x@relay\.test>: Recipient address rejected: unverified address: not by this way'],
    [sender => 'good@far.test', 'x@far.test', '250 2\.1\.5 Ok'],
    [sender => '', 'x@far.test', '250 2\.1\.5 Ok'],
    [sender => 'none@far.test', 'x@far.test', '450 4\.1\.7 <none@far\.test>: Sender address rejected: unverified address: host .*'],
    (map { my $at = "$_.test";
        [recipient => '', "good\@$at", '250 2\.1\.5 Ok'],
        [recipient => '', "none\@$at", "450 4\\.1\\.1 <none\@$at>: Recipient address rejected: unverified address: host .* said: 554 5\\.1\\.1 nobody after all \\(in reply to DATA command\\)"],
    } qw(late latel)),
    [recipient => '', 'double-bounce@mx.example', '250 2\.1\.5 Ok'],
);
push @rows,
    [recipient => '', 'joe@box.test', '250 2\.1\.5 Ok'], [recipient => '', 'nobody@users.test', '250 2\.1\.5 Ok'],
    [recipient => '', 'no.such.user@users.test', '450 4\.1\.1 <no\.such\.user@users\.test>: Recipient address rejected: unverified address: unknown user: "no\.such\.user"']
    if !$>;
for my $row (@rows) {
    my ($list, $from, $to, $want) = @$row;
    like(ask($list, $from, $to), qr/^$want$/, "$list: <$from> <$to>");
}
$gp->wait_log(qr/to=<good\@far\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, .* dsn=2\.1\.5, status=deliverable \(250 2\.1\.5 Ok\)$/);
$gp->wait_log(qr/to=<none\@far\.test>, .* dsn=5\.1\.1, status=undeliverable \(host /);
$gp->wait_log(qr/to=<busy\@far\.test>, .* dsn=4\.2\.1, status=undeliverable \(host /);
$gp->wait_log(qr/to=<x\@gone\.test>, .* status=undeliverable \(connect to /);
$gp->wait_log(qr/to=<user\@local\.test>, .* dsn=5\.1\.1, status=undeliverable \(no mailbox here\)$/);
if (!$>) {
    $gp->wait_log(qr/to=<joe\@box\.test>, relay=virtual, .* status=deliverable \(delivers to maildir\)$/);
    $gp->wait_log(qr/to=<nobody\@users\.test>, relay=local, .* status=deliverable \(delivers to maildir\)$/);
}
is(join(' ', glob "$boxes/*"), '', 'no mailbox was made');
ok($gp->drained, 'nothing is left of a probe') or diag join "\n", $gp->queue_list;
is(scalar(grep { /status=(?:bounced|deferred|sent)|non-delivery/ } $gp->log_lines(qr/./)), 0, 'and no notice was made');
is(scalar($sink->messages), 0, 'no message arrived anywhere');
unlike($sink->log, qr/ C: DATA/, 'a probe stops at RCPT');
for ($late, $late_lmtp) {
    like($_->log, qr/ C: DATA/, 'a probe goes on to DATA where it is told to');
    is(scalar($_->messages), 0, 'no message arrived there either');
}
$gp->wait_log(qr/to=<good\@late\.test>, .* dsn=2\.0\.0, status=deliverable \(354 go\)$/);

# What is known is known to workers that come later, and to the next start.
my $before = scalar $gp->log_lines(qr/status=(?:un)?deliverable/);
for my $how (qw(reload restart)) {
    $gp->$how;
    like(ask(recipient => '', 'good@far.test'), qr/^250 /, "known after a $how");
    like(ask(recipient => '', 'none@far.test'), qr/^450 4\.1\.1 /, 'the bad one too');
    is(scalar $gp->log_lines(qr/status=(?:un)?deliverable/), $before, 'without another probe');
}

# One that is sent again takes the way of probes again, not that of mail.
like(ask(quick => '', 'stuck@way.test'), qr/^450 .*Address verification in progress/, 'a probe that has no answer yet');
ok(wait_until(20, sub { $sink->log =~ /C: RCPT TO:<stuck\@way/ }), 'its server keeps it waiting');
like(ask(quick => '', "stuck$_\@way.test"), qr/^450 .*Address verification in progress/, "probe $_ waits, too") for 1 .. 3;
ok(wait_until(20, sub { $sink->log =~ /C: RCPT TO:<stuck3\@way/ }), 'up to address_verify_pending_request_limit');
like(ask(recipient => '', "stuck4\@way.test"), qr/^450 4\.1\.1 .*: unverified address: Too many address verification requests$/, 'one more is not sent');
$gp->wait_log(qr/error\[\d+\]: \w+: to=<stuck4\@way\.test>, relay=none, .* dsn=4\.3\.2, status=undeliverable \(Too many address verification requests\)$/);
$sink->flag('free', 1);
my $roles = $gp->roles;
kill_at_once(map { @{ $roles->{$_} } } 'qmgr', 'smtp-client');
$gp->wait_log(qr/to=<stuck\@way\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, .* status=deliverable /);
$gp->stop;
done_testing;
