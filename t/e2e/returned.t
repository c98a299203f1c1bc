#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Mail that sendmail(1) has left in maildrop, and that cleanup then cannot accept: its author has gone,
# so that it goes back to the sender, once, whatever dies meanwhile; of what nobody can be told the
# postmaster hears.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Maildrop;
use Gatepost::Sink;
use Test::More;

plan skip_all => 'needs root' if $> != 0;
need('strace');
my $sink = Gatepost::Sink->new;
my $drop = Gatepost::Maildrop->new(relayhost => '[127.0.0.1]:' . $sink->port, message_size_limit => 20_000_000,
    authorized_submit_users => '!games, static:anyone', notify_classes => 'software, policy, 2bounce',
    error_notice_recipient => 'post@next.test', '2bounce_notice_recipient' => 'twice@next.test');
my $gp = $drop->gp;
sub sendmail { $drop->sendmail('nobody', @_) }
sub by_subject { my ($s) = @_; grep { $_->{content} =~ /^Subject: \Q$s\E\r$/m && $_->{from} ne '' } $sink->messages }
sub notices { my ($to, $of) = @_;
    grep { "@{ $_->{rcpts} }" eq $to && (!defined $of || $_->{content} =~ /^Subject: \Q$of\E\r$/m) } $sink->messages }
sub gone { ok(wait_until(20, sub { !$drop->files }), 'maildrop is empty') or diag join ' ', $drop->files }

$gp->start;
$drop->count_cleanups;
$gp->stop;

# A file that all of the following are made of.
my $good = "Subject: good\n\nbody\n";
is((sendmail($good, '-f', 'me@client.test', '-N', 'failure', '-V', 'env1', '-XV+=', 'r@next.test', 's@next.test'))[0], 0,
    'a message while the system is down');
my ($name) = $drop->files;
my $first = slurp($drop->dir . "/$name");
unlink $drop->dir . "/$name";

# ---- what sendmail(1) takes, and cleanup does not ----

my $header = join '', map { "X-Field-$_: " . 'h' x 800 . "\n" } 1 .. 11_000;
is((sendmail("Subject: wide\n$header\nbody\n", 'r@next.test'))[0], 0, 'a header section that is too large');
is((sendmail("Subject: one field\nX-Field: " . "folded\n " x 1_200_000 . "\n\nbody\n", 'r@next.test'))[0], 0, 'one field');
is((sendmail("Subject: heavy\n\n" . "0123456789abcdef\n" x 200_000, 'r@next.test', 't@next.test'))[0], 0, 'a large one');
is((sendmail($good =~ s/good/delimiters/r, '-XV+=', 'r@next.test'))[0], 0, 'a sender for each recipient');
$gp->set(message_size_limit => 2_000_000, verp_delimiter_filter => '#*');
$gp->mark;
$gp->start;
for (['wide', '5.3.4', 'Error: message header section too big', qr/^X-Field-1: h/m],
    ['one field', '5.3.4', 'Error: message header section too big', undef],
    ['heavy', '5.3.4', 'message file too big', undef], ['delimiters', '5.5.4', 'bad parameters', undef]) {
    my ($subject, $status, $text, $has) = @$_;
    my $n;
    ok(wait_until(30, sub { ($n) = notices('nobody@mx.example', $subject) }), "$subject: its author hears of it")
        or diag tail($gp->{log}, 20);
    my $content = $n->{content} // '';
    is($n->{from}, '', 'from nobody');
    like($content, qr/^Final-Recipient: rfc822; r\@next\.test\r\n(?:.*\r\n)*?Status: \Q$status\E\r$/m, 'which recipient, and how');
    like($content, qr/\Q$text\E/, 'and why');
    like($content, $has, 'with its header') if $has;
    unlike($content, qr/^(?:0123456789abcdef|body)\r$/m, 'and not its body');
    is(scalar(() = notices('nobody@mx.example', $subject)), 1, 'once');
    is(scalar(() = by_subject($subject)), 0, 'and nobody else');
    $gp->wait_log(qr/warning: \w+: maildrop\/\w+\.\w+: uid 65534: \Q$text\E; returned to the sender$/, 'the log says it');
}
like((notices('nobody@mx.example', 'heavy'))[0]{content}, qr/^Final-Recipient: rfc822; t\@next\.test\r$/m, 'every recipient');
gone();
$gp->wait_log(qr/: to=<r\@next\.test>, relay=none, .*dsn=5\.3\.4, status=bounced \(message file too big\)$/, 'log: as any other');

# ---- what only a hostile caller leaves, or an older sendmail ----

$gp->set(verp_delimiter_filter => '-+=');
$gp->reload;
my $plain = $drop->changed($first, 'r@next.test', "r\@next\x01test");
$gp->mark;
$drop->put($plain);
my $n;
ok(wait_until(20, sub { ($n) = grep { $_->{content} =~ /bad address syntax/ } $sink->messages }), 'a recipient that is no address')
    or diag tail($gp->{log}, 20);
like($n->{content}, qr/^Final-Recipient: rfc822; "?r\@next\?test"?\r\n(?:.*\r\n)*?Status: 5\.1\.3\r$/m, 'is returned');
unlike($n->{content}, qr/\x01/, 'without what is no text');
unlike($n->{content}, qr/^Final-Recipient: rfc822; s\@next\.test/m, 'alone');
ok(wait_until(20, sub { scalar(() = by_subject('good')) == 1 }), 'the others get it');
is("@{ (by_subject('good'))[0]{rcpts} }", 's@next.test', 'and only they');
gone();

$gp->mark;
$drop->put($drop->changed($first, 'me@client.test', "me\x01client.test"));
$gp->wait_log(qr{: uid 65534: bad sender address; set aside as maildrop/(bad\.\w+)$}, 'a sender that is none');
ok(wait_until(20, sub { ($n) = grep { $_->{content} =~ /bad sender address/ } notices('post@next.test') }), 'the postmaster is told')
    or diag tail($gp->{log}, 20);
like($n->{content}, qr/^Subject: Gatepost pickup: mail of uid 65534 set aside\r$/m, 'of what');
like($n->{content}, qr/^  file:   maildrop\/bad\.[0-9A-F]{24}\r$/m, 'and where it is');
$drop->put(substr($first, 0, -10));
ok(wait_until(20, sub { grep { $_->{content} =~ /not of the form of such files/ } notices('post@next.test') }), 'one that is cut off');
$drop->put($first, uid => scalar getpwnam 'games');
ok(wait_until(20, sub { grep { $_->{content} =~ /authorized_submit_users/ } notices('post@next.test') }), 'an owner who may not: by policy');
is(scalar(() = notices('me@client.test')), 0, 'nobody that he names hears of it');
unlink map { $drop->dir . "/$_" } grep {/^bad/} $drop->files;

# The null sender has nobody to tell, so that the postmaster is, as of any bounce of a bounce.
$gp->set(message_size_limit => 20_000_000);
$gp->reload;
run_ok('no listener', build() . '/sbin/gatepost', '-c', $gp->dir, 'service', 'sendmail', 'stop');
is((sendmail("Subject: null\n" . "$header\nbody\n", '-f', '<>', 'r@next.test'))[0], 0, 'from the null sender');
ok(wait_until(20, sub { notices('twice@next.test', 'null') }), 'goes to the postmaster') or diag tail($gp->{log}, 20);
gone();

# ---- death at every step ----

my $bad = $drop->changed($first, '+=', '+%');
for (['renameat', 1], ['fsync', 2], ['fdatasync', 3], ['unlinkat', 4]) {
    my ($call, $n) = @$_;
    ok($drop->killed_at($call, 1, sub { $drop->put($bad) }), "cleanup is killed at $call");
    ok(wait_until(30, sub { notices('me@client.test') >= $n }), 'its author hears of it') or diag tail($gp->{log}, 20);
    gone();
    ok($gp->drained, 'the queue is empty');
    is(scalar(() = notices('me@client.test')), $n, 'once');
}
$gp->stop;
done_testing;
