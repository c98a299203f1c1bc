#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Real peers: swaks and curl hand mail in; it goes out to Postfix and to Exim; Postfix is a client;
# Dovecot takes mail over LMTP and may restart.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Peers;
use Gatepost::Tables;
use Test::More;

need(qw(swaks curl));
my $postfix = Gatepost::Peers->postfix(domains => ['postfix.test']);
my $exim = Gatepost::Peers->exim(domains => ['exim.test']);
my $dovecot = Gatepost::Peers->dovecot(users => ['anna', 'bert']);
my $dir = tempdir('routes');
my $transport = table('hash', "$dir/transport", join '',
    "postfix.test smtp:[127.0.0.1]:" . $postfix->port . "\n",
    "exim.test    smtp:[127.0.0.1]:" . $exim->port . "\n");
my $gp = Gatepost::Instance->new(main => {
    transport_maps => $transport,
    virtual_mailbox_domains => 'dovecot.test',
    virtual_mailbox_maps => texthash("$dir/boxes", "anna\@dovecot.test x\nbert\@dovecot.test x\n"),
    virtual_transport => "lmtp:unix:$dovecot->{path}", unix_nexthop_directories => '/run, /tmp',
    recipient_delimiter => '+',
    mydestination => 'local.test', local_recipient_maps => 'inline:{anna=x, bert=x}',
    mailbox_transport => "lmtp:unix:$dovecot->{path}",
});
$gp->start;

# In by swaks and curl, out to Postfix and Exim.
my $at = 0;
for my $client (['swaks', 'postfix', $postfix], ['curl', 'exim', $exim],
    ['swaks', 'exim', $exim], ['curl', 'postfix', $postfix]) {
    my ($tool, $peer, $server) = @$client;
    my $to = "user\@$peer.test";
    my $subject = "from $tool to $peer";
    my @before = $server->received;
    if ($tool eq 'swaks') {
        run_ok("$tool to $peer", 'swaks', '--server', '127.0.0.1', '--port', $gp->port, '--from',
            'a@client.test', '--to', $to, '--header', "Subject: $subject", '--body', "by $tool\n.\n..dots\n");
    } else {
        my $file = spew("$dir/mail", "From: a\@client.test\r\nTo: $to\r\nSubject: $subject\r\n\r\n"
            . "by $tool\r\n.\r\n..dots\r\n");
        run_ok("$tool to $peer", 'curl', '-sS', '--url', 'smtp://127.0.0.1:' . $gp->port . '/client.test',
            '--mail-from', 'a@client.test', '--mail-rcpt', $to, '--upload-file', $file);
    }
    my @mail = $server->wait_received(@before + 1);
    my ($mail) = grep {/^Subject: \Q$subject\E$/m} @mail;
    ok($mail, "$subject: arrived") or next;
    like($mail, qr/^Received: from .* \(\S+ \[127\.0\.0\.1\]\)\n\s+by mx\.example \(Gatepost\)/m, "$subject: our trace");
    like($mail, qr/\n\nby $tool\n\.\n\.\.dots\n/, "$subject: dots are right");
}

# Postfix and Exim as clients, by their own pipelining and chunking.
my $client = Gatepost::Peers->postfix(relayhost => '[127.0.0.1]:' . $gp->port);
my $submit = Gatepost::Smtp->new(port => $client->port);
ok($submit->hello, 'a Postfix that relays to us');
is($submit->mail('p@client.test', "u$_\@exim.test", "Subject: by Postfix $_\r\n\r\nx\r\n")->{code}, 250,
    "given to Postfix: $_") for 1 .. 5;
my @mail = $exim->wait_received(7);
is(scalar(grep {/^Subject: by Postfix \d$/m} @mail), 5, 'all arrive at Exim') or diag $client->log;
my $exim2 = Gatepost::Peers->exim(relayhost => '127.0.0.1::' . $gp->port);
$submit = Gatepost::Smtp->new(port => $exim2->port);
ok($submit->hello, 'an Exim that relays to us');
is($submit->mail('e@client.test', 'u@postfix.test', "Subject: by Exim\r\n\r\nx\r\n")->{code}, 250, 'given to Exim');
@mail = $postfix->wait_received(3);
is(scalar(grep {/^Subject: by Exim$/m} @mail), 1, 'it arrives at Postfix') or diag $exim2->log;

# Dovecot by LMTP: a result for each recipient.
is($gp->mail('a@client.test', ['anna@dovecot.test', 'bert+box@dovecot.test'],
    "From: a\@client.test\r\nSubject: lmtp\r\n\r\nx\r\n")->{code}, 250, 'for two in Dovecot');
@mail = $dovecot->wait_received(2);
is(scalar @mail, 2, 'both have it');
$gp->wait_log(qr/lmtp\[\d+\]: \w+: to=<anna\@dovecot\.test>, relay=\S+\[\Q$dovecot->{path}\E\], .* status=sent \(250 2\.0\.0 /,
    'log: lmtp');
is($gp->session->mail('a@client.test', 'nobody@dovecot.test', "x\r\n")->{code}, 550, 'an unknown one is refused at RCPT');

# The same by way of local: mailbox_transport.
is($gp->mail('a@client.test', 'bert@local.test', "From: a\@client.test\r\nSubject: by local\r\n\r\nx\r\n")->{code}, 250, 'for a local user');
@mail = $dovecot->wait_received(3);
is(scalar(grep {/^Subject: by local$/m} @mail), 1, 'mailbox_transport: Dovecot has it');
$gp->wait_log(qr/lmtp\[\d+\]: \w+: to=<bert\@local\.test>, relay=\S+\[\Q$dovecot->{path}\E\], .* status=sent \(250 2\.0\.0 /,
    'log: lmtp, for a local user');

# Dovecot restarts: mail waits no longer than that.
$dovecot->stop;
is($gp->mail('a@client.test', 'anna@dovecot.test', "Subject: while away\r\n\r\nx\r\n")->{code}, 250, 'accepted meanwhile');
$gp->wait_log(qr/to=<anna\@dovecot\.test>, .* status=deferred/, 'deferred');
is($gp->mail('a@client.test', 'bert@local.test', "Subject: local, away\r\n\r\nx\r\n")->{code}, 250, 'for a local user meanwhile');
$gp->wait_log(qr/to=<bert\@local\.test>, .* status=deferred/, 'deferred');
$dovecot->start;
my $pace = Gatepost::Pace->new;
my $t = time;
@mail = $dovecot->wait_received(5, 60);
is(scalar(grep {/^Subject: local, away$/m} @mail), 1, 'mailbox_transport: delivered when it is back');
is(scalar(grep {/^Subject: while away$/m} @mail), 1, 'delivered when it is back');
ok($pace->within(15, $t), 'soon');
ok($gp->drained, 'nothing is left');
$gp->stop;
diag $_->log for grep { !Test::More->builder->is_passing } $postfix, $exim, $dovecot;
done_testing;
