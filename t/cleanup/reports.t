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
    virtual_alias_domains => 'alias.test', virtual_alias_maps => 'inline:{ {list@alias.test = one@next.test two@next.test} {list2@alias.test = unknown@alias.test} }',
    smtpd_recipient_restrictions => 'check_recipient_access inline:{ {refused@next.test = reject not wanted}'
        . ' {soft@next.test = what is this} }, permit_mynetworks, reject',
    virtual_mailbox_domains => 'data.test', virtual_mailbox_maps => 'fail:gone',
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
my ($trace, $bounce);
# The delay may be told of meanwhile.
wait_until(20, sub {
    ($trace)  = grep { $_->{content} =~ /^Subject: Mail Delivery Status Report/m } to('v@client.test');
    ($bounce) = grep { $_->{content} =~ /^Subject: Undelivered/m } to('v@client.test');
    return $trace && $bounce;
});
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
for (['-XVab', 'owner@client.test', qr/-XV needs two characters from -=\+/], ['-XV', '', qr/-XV needs a sender/], ['-XV', '<>', qr/-XV needs a sender/]) {
    my ($option, $from, $why) = @$_;
    ($status, $out) = sendmail("Subject: verp\n\n", '-f', $from, $option, 'v1@next.test');
    is($status, 64, "$option from <$from>");
    like($out, $why, 'why');
}
# Other delimiters, none of the usual ones, and not everybody may ask for them.
$gp->set(disable_verp_bounces => 'yes', default_verp_delimiters => '#=', verp_delimiter_filter => '=#', smtpd_authorized_verp_clients => '127.0.0.2');
$gp->reload;
$c = $gp->session;
ok(!exists $c->{ehlo}{XVERP}, 'XVERP is not offered to everybody');
is($c->cmd('MAIL FROM:<own@client.test> XVERP')->{code}, 555, 'nor taken from them');
is($c->cmd('MAIL FROM:<own@client.test> XVERP=##')->{code}, 555, 'with delimiters neither');
$c->quit;
$c = Gatepost::Smtp->new(host => '127.0.0.1', port => $gp->port, from => '127.0.0.2');
$c->hello;
ok(exists $c->{ehlo}{XVERP}, 'but to who may');
like($c->cmd('MAIL FROM:<own@client.test> XVERP=+=')->{text}, qr/^501 5\.5\.4 .*two characters from =#/, 'verp_delimiter_filter');
is($c->cmd('MAIL FROM:<own@client.test> XVERP')->{code}, 250, 'default_verp_delimiters');
$c->cmd('RCPT TO:<x2@next.test>');
$c->cmd('DATA');
is($c->cmd("Subject: x\r\n\r\n.")->{code}, 250, 'sent');
is((wait_to('x2@next.test', 1))[0]{from}, 'own#x2=next.test@client.test', 'the sender with them');
$c->quit;
($status, $out) = sendmail("Subject: verp\n\n", '-f', 'owner@client.test', '-XV+=', 'v1@next.test');
is($status, 64, 'sendmail with others');
like($out, qr/-XV needs two characters from =#/, 'why');
sendmail("Subject: verp\n\nbody\n", '-f', 'all@client.test', '-XV', map {"$_\@next.test"} qw(bad3 bad4 v3));
is((wait_to('v3@next.test', 1))[0]{from}, 'all#v3=next.test@client.test', 'sendmail with those');
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
my $errors = wait_to('errors@post.test', 3);
is($errors, 3, 'the three sessions with bad options above have had one each');
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

# Each class alone: of several things that go wrong one is told.
my %wrong = (
    data     => ['x@data.test', qr/^ Out: 451 4\.3\.0 .*Temporary lookup failure/m],
    software => ['soft@next.test', qr/^ Out: 451 4\.3\.5 .*Server configuration error/m],
    policy   => ['refused@next.test', qr/^ Out: 554 5\.7\.1 .*not wanted/m]);
sub go_wrong {
    for my $class (sort keys %wrong) {
        my $c = $gp->session;
        $c->cmd('MAIL FROM:<t@client.test>');
        like(' Out: ' . $c->cmd("RCPT TO:<$wrong{$class}[0]>")->{text}, $wrong{$class}[1], "what is of class $class");
        $c->quit;
    }
    return;
}
for my $class (qw(data software)) {
    $gp->set(notify_classes => $class);
    $gp->restart;
    go_wrong();
    $m = (wait_to('errors@post.test', ++$errors))[-1];
    like($m->{content} // '', $wrong{$class}[1], "$class: a transcript");
    like($m->{content} // '', qr/^ In:  RCPT TO:<\Q$wrong{$class}[0]\E>\r$/m, "$class: what was said");
    ok($gp->drained(20), 'over');
    is(scalar(to('errors@post.test')), $errors, "$class: of that alone");
}
# No space: also then, but not each time.
$gp->set(notify_classes => 'resource', queue_minfree => '9000000000000000');
$gp->restart;
go_wrong_for_space($_) for 1 .. 3;
sub go_wrong_for_space {
    my $c = $gp->session;
    my $r;
    wait_until(10, sub { ($r = $c->cmd('MAIL FROM:<t@client.test>'))->{code} != 250 && return 1; $c->cmd('RSET'); return });
    like($r->{text}, qr/^452 4\.3\.1 /, 'no space') or diag $r->{text};
    $c->quit;
    return;
}
$m = (wait_to('errors@post.test', ++$errors))[-1];
like($m->{content} // '', qr/^ In:  MAIL FROM:<t\@client\.test>\r\n Out: 452 4\.3\.1 /m, 'resource: a transcript');
ok($gp->drained(20), 'over');
is(scalar(to('errors@post.test')), $errors, 'resource: one a minute');
$gp->set(queue_minfree => 0);

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

# No bounce of a bounce, and none of what can be refused while the client is there.
$gp->set(notify_classes => '', mydestination => 'mx.example', outgoing_message_size_limit => 50000,
    transport_maps => 'inline:{ {gone.test = error:5.1.6 it has moved} {closed.test = retry:4.4.9 come back} }',
    relocated_maps => 'inline:{ {old@next.test = new@next.test} }', hopcount_limit => 5);
$gp->restart;
my $large = "Subject: large\r\n\r\n" . ('x' x 70 . "\r\n") x 1000;
my $loop = "Received: by x\r\n" x 9 . "Subject: loop\r\n\r\n";
my $came = $sink->count;
for (['an error transport', 'x@gone.test', qr/^550 5\.1\.6 .*it has moved/], ['a retry transport', 'x@closed.test', qr/^450 4\.4\.9 .*come back/],
    ['who has moved', 'old@next.test', qr/^550 5\.1\.6 .*new\@next\.test/], ['no alias', 'nobody@alias.test', qr/^550 5\.1\.1 .*User unknown/],
    ['no address', 'x@bad..test', qr/^5\d\d 5\.1\.3 /], ['too large for elsewhere', 'good@next.test', qr/^552 5\.3\.4 /, $large],
    ['too large, says SIZE', 'good@next.test', qr/^552 5\.3\.4 /, $large, 'SIZE=70000'], ['going in circles', 'good@next.test', qr/^554 5\.4\.6 /, $loop]) {
    my ($name, $to, $want, $content, $more) = @$_;
    $c = $gp->session;
    my $r = $c->cmd('MAIL FROM:<s@client.test> ' . ($more // ''));
    $r = $c->cmd("RCPT TO:<$to>") if $r->{code} == 250;
    $r = $c->cmd('DATA') if $r->{code} == 250 && $content;
    $r = $c->cmd("$content.") if $r->{code} == 354;
    like($r->{text}, $want, "refused: $name");
    $c->quit;
}
# Nobody is told of these, whatever they wish.
for (['the null sender', '', '', map {"$_\@next.test NOTIFY=SUCCESS,DELAY,FAILURE"} qw(bad later)], ['with ENVID', '', 'RET=FULL ENVID=x', 'bad@next.test'],
    ['its recipient is unknown behind an alias', '', '', 'list2@alias.test'],
    ['the sender of double bounces', 'double-bounce@mx.example', '', 'bad@next.test NOTIFY=FAILURE,DELAY', 'later@next.test'],
    ['in capitals', 'DOUBLE-Bounce@MX.example', '', 'bad@next.test'], ['to the sender of double bounces', '', '', 'double-bounce@mx.example']) {
    my ($name, $from, $more, @to) = @$_;
    $c = $gp->session;
    $c->cmd("MAIL FROM:<$from> $more");
    for (@to) {
        my ($to, $wish) = split / /, $_, 2;
        is($c->cmd("RCPT TO:<$to> " . ($wish // ''))->{code}, 250, "$name: to $to");
    }
    $c->cmd('DATA');
    is($c->cmd("Subject: none\r\n\r\n.")->{code}, 250, "$name: sent");
    $c->quit;
}
for my $from ('', '<>') {
    for my $args (['-N', 'success,failure,delay', 'bad@next.test'], ['-v', 'bad@next.test', 'later@next.test'], ['-bv', 'bad@next.test', 'good@next.test']) {
        is((sendmail("Subject: none\n\n", '-f', $from, @$args))[0], 0, "sendmail -f '$from' @$args");
    }
}
$gp->wait_log(qr/to=<double-bounce\@mx\.example>, relay=none, .*status=sent \(undeliverable postmaster notification discarded\)/, 'what comes back to us ends');
ok(wait_until(20, sub { $gp->log_lines(qr/to=<later\@next\.test>, .*status=deferred/) >= 4 }), 'late ones are tried');
$gp->tool('gateq', 'expire', 'ALL');
ok($gp->drained(20), 'all is over');
is($sink->count, $came, 'nothing was sent to anybody') or diag explain([map {"$_->{from} to @{ $_->{rcpts} }"} ($sink->messages)[$came .. $sink->count - 1]]);
is((sendmail("Subject: mine\n\n", '-f', '', '-F', 'Some Name', 'good@next.test'))[0], 0, 'a message from nobody');
ok(wait_until(20, sub { $sink->count > $came }), 'arrives');
like(($sink->messages)[-1]{content}, qr/^From: .*MAILER-DAEMON\@client\.test/m, 'From: of one without a sender');

$gp->stop;
done_testing;
