#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The queue through the commands: gateq and Postfix's names for it, and sendmail.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use JSON::PP ();
use Test::More;

my $sink = Gatepost::Sink->new;
$sink->stop;
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, minimal_backoff_time => '1h', maximal_backoff_time => '1h' });
$gp->start;

sub list { map { JSON::PP::decode_json($_) } $gp->queue_list }
sub entry { my ($id) = @_; my ($e) = grep { $_->{queue_id} eq $id } list(); return $e }
sub mail {
    my ($from, $to) = @_;
    my $r = $gp->mail($from, $to, "From: $from\r\nSubject: queued\r\n\r\n" . "line\r\n" x 50);
    my ($id) = $r->{text} =~ /queued as (\S+)/;
    return $id // '';
}
sub gateq { $gp->tool('gateq', @_) }
sub with_input {
    my ($input, @cmd) = @_;
    my $file = spew($gp->dir . '/input', $input);
    return run_out('sh', '-c', 'exec "$@" <' . $file, 'sh', @cmd);
}
my @gateq = (build() . '/sbin/gateq', '-c', $gp->dir);

my ($status, $out) = gateq('list');
is($status, 0, 'list of an empty queue');
is($out, "Mail queue is empty\n", 'its words');
my @id = map { mail("s$_\@client.test", "r$_\@next.test") } 1 .. 6;
is(scalar(grep {length} @id), 6, 'six messages');
ok(wait_until(10, sub { 6 == grep { $_->{queue_name} eq 'deferred' } list() }), 'all are deferred') or diag $gp->queue_list;

($status, $out) = gateq('list');
like($out, qr/\A-Queue ID-  -{2}Size-- -{4}Arrival Time---- -Sender\/Recipient-------\n/, 'the head of mailq');
like($out, qr/^$id[0] +\d+ \w{3} \w{3} [ \d]\d [\d:]{8}  s1\@client\.test\n +\(connect to .*Connection refused\)\n {41}r1\@next\.test\n\n/m,
    'an entry') or diag $out;
like($out, qr/^-- \d+ Kbytes in 6 Requests\.\n\z/m, 'its end');
is((run_out(build() . '/sbin/postqueue', '-c', $gp->dir, '-p'))[1], $out, 'postqueue -p is the same');
my $e = entry($id[0]);
my @fields = qw(arrival_time forced_expire message_size queue_id queue_name recipients sender);
is_deeply([sort keys %$e], [sort @fields, 'next_attempt'], 'fields of --json');
is_deeply([sort keys %{ $e->{recipients}[0] }], [qw(address attempts delay_reason last_attempt next_attempt nexthop orig_address
    status transport)], 'of a recipient');
is("@{ $e->{recipients}[0] }{qw(attempts status transport)}", '1 4.4.1 smtp', 'what they say');
cmp_ok(abs($e->{recipients}[0]{next_attempt} - $e->{recipients}[0]{last_attempt} - 3600), '<', 60, 'the next attempt');
my ($j) = map { JSON::PP::decode_json($_) } (run_out(build() . '/sbin/postqueue', '-c', $gp->dir, '-j'))[1] =~ /^(.*$id[0].*)$/m;
is_deeply([[sort keys %$j], [sort keys %{ $j->{recipients}[0] }]], [\@fields, [qw(address delay_reason orig_address)]],
    'postqueue -j has those of Postfix');
is($e->{sender}, 's1@client.test', 'sender');
is($e->{recipients}[0]{address}, 'r1@next.test', 'recipient');
like($e->{recipients}[0]{delay_reason}, qr/Connection refused/, 'reason');
cmp_ok(abs($e->{arrival_time} - time), '<', 60, 'arrival');

($status, $out) = gateq('show', $id[0]);
is($status, 0, 'show');
like($out, qr/s1\@client\.test/, 'the sender') and like($out, qr/r1\@next\.test/, 'the recipient');
($status, $out) = gateq('cat', $id[0]);
is($status, 0, 'cat');
like($out, qr/^Received: .*^Subject: queued\r?\n(?:[\w-]+: .*\n)*\r?\n(?:line\r?\n){50}\z/ms, 'the content');

is((gateq('hold', $id[1]))[0], 0, 'hold');
is(entry($id[1])->{queue_name}, 'hold', 'it is on hold');
like((gateq('list'))[1], qr/^$id[1]! /m, 'with its mark');
is((gateq('delete', $id[2], $id[3]))[0], 0, 'delete two');
ok(!entry($_), "$_ is gone") for @id[2, 3];
is((gateq('delete', 'FFFFFFFFFF'))[0], 1, 'an unknown id');
($status, $out) = with_input("$id[4]\n", @gateq, 'hold', '-');
is($status, 0, 'ids from standard input');
is(entry($id[4])->{queue_name}, 'hold', 'it is on hold');
($status, $out) = gateq('hold', '--sender', 's6@client.test', '--dry-run');
is($status, 0, 'a filter, tried');
like($out, qr/$id[5]/, 'names the message');
is(entry($id[5])->{queue_name}, 'deferred', 'and changes nothing');
is((gateq('hold', '--sender', 's6@client.test'))[0], 0, 'a filter');
is(entry($id[5])->{queue_name}, 'hold', 'it is on hold');
is((gateq('release', 'ALL'))[0], 0, 'release all');
is(scalar(grep { $_->{queue_name} eq 'hold' } list()), 0, 'none is on hold');

# Nothing forgets a hold or a message over a restart.
gateq('hold', $id[1]);
$gp->restart;
is(entry($id[1])->{queue_name}, 'hold', 'hold outlives a restart');
is(scalar(list()), 4, 'so do the others');

# Expire: the sender is told. Flush: everything goes now.
is((gateq('expire', $id[0]))[0], 0, 'expire');
$sink->start;
is((gateq('flush'))[0], 0, 'flush');
ok(wait_until(15, sub { scalar(list()) == 1 }), 'all but the one on hold leave') or diag $gp->queue_list;
# The notice is listed a moment behind the end of what it tells of.
my @m;
wait_until(15, sub { @m = $sink->messages; grep { $_->{from} eq '' } @m });
is(scalar(grep { $_->{from} eq '' && $_->{rcpts}[0] eq 's1@client.test' } @m), 1, 'the expired one is returned');
$gp->wait_log(qr/$id[0]: from=<s1\@client\.test>, status=(?:force-)?expired, returned to sender/, 'log: expired');
is_deeply([sort map { $_->{rcpts}[0] } grep { $_->{from} ne '' } @m], ['r5@next.test', 'r6@next.test'], 'the others arrive');
is((gateq('requeue', $id[1]))[0], 0, 'requeue of a held one');
is((run_out(build() . '/sbin/postsuper', '-c', $gp->dir, '-H', 'ALL'))[0], 0, 'postsuper -H ALL');
gateq('flush');
ok($gp->drained, 'the queue is empty');
ok((grep { $_->{rcpts}[0] eq 'r2@next.test' } $sink->messages), 'it arrives');

# sendmail
my @sendmail = (build() . '/sbin/sendmail', '-C', $gp->dir);
($status, $out) = with_input("To: t1\@next.test\nCc: t2\@next.test\nBcc: t3\@next.test\nSubject: by sendmail\n\n.\nx\n",
    @sendmail, '-t', '-i', '-f', 'me@client.test');
is($status, 0, 'sendmail -t -i') or diag $out;
my $m;
ok(wait_until(10, sub { ($m) = grep { $_->{content} =~ /^Subject: by sendmail\r$/m } $sink->messages }), 'arrives');
is_deeply([sort map { @{ $_->{rcpts} } } grep { $_->{content} =~ /by sendmail/ } $sink->messages],
    [map {"t$_\@next.test"} 1 .. 3], 'at everybody');
is($m->{from}, 'me@client.test', 'sender');
unlike($m->{content}, qr/^Bcc:/m, 'Bcc is taken out');
like($m->{content}, qr/\r\n\r\n\.\r\nx\r\n\z/, 'a lone dot with -i is text');
like($m->{content}, qr/^Received: by mx\.example \(Gatepost, from userid 0\)/m, 'Received says who');
$gp->wait_log(qr/pickup\[\d+\]: \w+: uid=0 from=<me\@client\.test>$/, 'log: pickup');
($status, $out) = with_input("EHLO x\r\nQUIT\r\n", @sendmail, '-bs');
like($out, qr/^220 .*^250.*^221 /ms, 'sendmail -bs');
ok($gp->drained, 'nothing waits');
is((run_out(@sendmail, '-bp'))[1], "Mail queue is empty\n", 'sendmail -bp');
$gp->stop;
($status, $out) = with_input("To: t1\@next.test\n\nx\n", @sendmail, '-t');
is($status, 0, 'while the system is down it waits in maildrop') or diag $out;
done_testing;
