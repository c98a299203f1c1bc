#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Who speaks for others: PROXY headers of load balancers, XCLIENT and XFORWARD.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Stage;
use Socket qw(inet_aton inet_pton AF_INET6);
use Test::More;

my %lists = (
    smtpd_relay_restrictions => 'permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination',
    smtpd_client_restrictions => 'check_client_access inline:{192.0.2.66=REJECT, bad.example=REJECT}',
);

# PROXY.
my $st = Gatepost::Stage->new(main => {
    %lists, smtpd_upstream_proxy_protocol => 'haproxy', smtpd_upstream_proxy_timeout => '5s',
    mynetworks => '192.0.2.9', smtpd_client_port_logging => 'yes',
});
sub v2 {
    my ($command, $family, $data) = @_;
    return "\r\n\r\n\0\r\nQUIT\n" . pack('CCn', 0x20 | $command, $family, length $data) . $data;
}
my $v4 = inet_aton('192.0.2.9') . inet_aton('192.0.2.25') . pack('nn', 4711, 25);
my $v6 = inet_pton(AF_INET6, '2001:db8::9') . inet_pton(AF_INET6, '::1') . pack('nn', 4712, 25);

for my $row (
    ['version 1', "PROXY TCP4 192.0.2.9 192.0.2.25 4711 25\r\n", '192.0.2.9', 4711, 250],
    ['a stranger', "PROXY TCP4 192.0.2.8 192.0.2.25 4711 25\r\n", '192.0.2.8', 4711, 554],
    ['refused by its own address', "PROXY TCP4 192.0.2.66 192.0.2.25 4711 25\r\n", '192.0.2.66', 4711, 554],
    ['IPv6', "PROXY TCP6 2001:db8::9 ::1 4712 25\r\n", '2001:db8::9', 4712, 554],
    ['mapped', "PROXY TCP6 ::ffff:192.0.2.9 ::1 4713 25\r\n", '192.0.2.9', 4713, 250],
    ['version 2', v2(1, 0x11, $v4), '192.0.2.9', 4711, 250],
    ['version 2 with an extension', v2(1, 0x11, $v4 . "\4\0\3abc"), '192.0.2.9', 4711, 250],
    ['version 2, IPv6', v2(1, 0x21, $v6), '2001:db8::9', 4712, 554],
    ['version 2, the proxy itself', v2(0, 0, ''), '127.0.0.1', undef, 554],
    ['version 1, unknown', "PROXY UNKNOWN\r\n", '127.0.0.1', undef, 554],
) {
    my ($name, $header, $addr, $port, $code) = @$row;
    my $c = $st->client;
    # In two pieces.
    $c->send(substr $header, 0, 7);
    $c->send(substr $header, 7);
    ok($c->hello, "$name: greeted");
    $c->cmd('MAIL FROM:<a@far.test>', 250);
    is($c->cmd('RCPT TO:<b@far.test>')->{code}, $code, "$name: may it relay");
    $c->quit;
    $port //= '\d+';
    $st->wait_log(qr/: connect from unknown\[\Q$addr\E\]:$port$/m);
}
for my $row (
    ['no header', "EHLO x\r\n", 'malformed header'],
    ['a bad one', "PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n", 'malformed header'],
    ['a long one', 'PROXY TCP4 ' . ('1' x 200), 'header is too long'],
    ['version 2 of a socket file', v2(1, 0x31, 'x' x 216), 'malformed header'],
    ['version 2, too long', v2(1, 0x11, 'x' x 5000), 'header is too long'],
    ['half a header', 'PROXY TCP4', 'timeout'],
) {
    my ($name, $header, $why) = @$row;
    my $c = $st->client;
    $c->send($header);
    my $r = $c->reply;
    is($r->{code}, 0, "$name: not a word");
    ok(!$c->{timed_out}, "$name: closed");
    $st->wait_log(qr/: warning: haproxy read from \[127\.0\.0\.1\]:\d+: $why$/m);
}
$st->order('stop');
$st->end;

# XCLIENT and XFORWARD.
$st = Gatepost::Stage->new(main => {
    %lists, smtpd_authorized_xclient_hosts => '127.0.0.1, 192.0.2.9, [2001:db8::1]', smtpd_authorized_xforward_hosts => '127.0.0.0/8',
    mynetworks => '192.0.2.9', smtpd_delay_reject => 'no',
});
for my $from ('127.0.0.2', '127.0.0.1') {
    my $c = $st->session(from => $from);
    my $may = $from eq '127.0.0.1';
    is(exists $c->{ehlo}{XCLIENT}, $may, "$from: XCLIENT is offered to who may use it");
    is($c->{ehlo}{XCLIENT}, 'NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT', 'and its attributes') if $may;
    is($c->{ehlo}{XFORWARD}, 'NAME ADDR PROTO HELO SOURCE PORT IDENT', "$from: XFORWARD");
    is($c->cmd('XCLIENT ADDR=192.0.2.9')->{text},
        $may ? '220 mx.example.test ESMTP Gatepost' : '550 5.7.0 Error: insufficient authorization', $from);
    $c->quit;
}
{
    my $c = $st->session;
    $c->cmd('MAIL FROM:<a@far.test>', 250);
    is($c->cmd('RCPT TO:<b@far.test>')->{code}, 554, 'a stranger');
    is($c->cmd('XCLIENT NAME=x.example')->{text}, '503 5.5.1 Error: MAIL transaction in progress', 'not now');
    $c->cmd('RSET', 250);
    is($c->cmd('XCLIENT')->{text}, '501 5.5.4 Syntax: XCLIENT attribute=value...', 'no attribute');
    is($c->cmd('XCLIENT COLOUR=red')->{text}, '501 5.5.4 Bad XCLIENT attribute name: COLOUR', 'no such attribute');
    is($c->cmd('XCLIENT NAME=x.example ADDR=1.2.3')->{text}, '501 5.5.4 Bad ADDR syntax: 1.2.3', 'a bad value');
    $c->cmd('MAIL FROM:<a@far.test>', 250);
    is($c->cmd('RCPT TO:<b@far.test>')->{code}, 554, 'a command that was refused has changed nothing');
    $c->cmd('RSET', 250);
    # Another client, and HELO is gone.
    is($c->cmd('XCLIENT NAME=good.example ADDR=192.0.2.9 PORT=99')->{code}, 220, 'the greeting again');
    $c->cmd('EHLO other.example', 250);
    $c->cmd('MAIL FROM:<a@far.test>', 250);
    $c->cmd('RCPT TO:<b@far.test>', 250, 'a trusted client');
    $c->cmd('DATA', 354);
    $c->send("Subject: x\r\n\r\nx\r\n.\r\n");
    my $m = $st->letter(Gatepost::Smtp::id_of($c->reply));
    is("$m->{client_name} $m->{client_addr} $m->{helo}", 'good.example 192.0.2.9 other.example', 'who sent it');
    $st->wait_log(qr/: 4F\w+: client=good\.example\[192\.0\.2\.9\]$/m);
    # One that is refused at once, and with it nothing but QUIT and XCLIENT's next try goes.
    like($c->cmd('XCLIENT ADDR=192.0.2.66 NAME=[UNAVAILABLE]')->{text}, qr/^554 5\.7\.1 /, 'refused by its address');
    like($c->cmd('EHLO x')->{text}, qr/^503 5\.7\.0 /, 'and not served');
    $c->cmd('QUIT', 221);
    $st->wait_log(qr/: disconnect from unknown\[192\.0\.2\.66\] .*xclient=2\/6 /m);
}
# Who is spoken for has no right of the one that speaks: a proxy may hand on what it says.
{
    my $c = $st->session;
    $c->cmd('XCLIENT NAME=x.example ADDR=192.0.2.10', 220);
    unlike($c->cmd('EHLO client.example')->{text}, qr/XCLIENT|XFORWARD/, 'neither is offered');
    is($c->cmd("$_=x")->{text}, '550 5.7.0 Error: insufficient authorization', "nor taken: $_") for 'XCLIENT LOGIN', 'XFORWARD NAME';
    $c->quit;
}
{
    my $c = $st->session;
    like($c->cmd('XCLIENT NAME=bad.example ADDR=192.0.2.1')->{text}, qr/^554 5\.7\.1 /, 'refused by its name');
    $c->close;
    $c = $st->session;
    is($c->cmd('XCLIENT ADDR=IPv6:2001:db8::1 NAME=[TEMPUNAVAIL] HELO=given.example PROTO=ESMTP LOGIN=u+40x')->{code}, 220, 'all of them');
    $c->cmd('MAIL FROM:<a@far.test>', 250, 'HELO was said for it');
    $c->cmd('RCPT TO:<b@far.test>', 250, 'and AUTH');
    $st->wait_log(qr/client=unknown\[2001:db8::1\], sasl_method=XCLIENT, sasl_username=u\@x$/m);
    $c->cmd('RSET', 250);
    is($c->cmd('XCLIENT LOGIN=[UNAVAILABLE]')->{code}, 220, 'nobody again');
    $c->cmd('HELO x', 250);
    $c->cmd('MAIL FROM:<a@far.test>', 250);
    is($c->cmd('RCPT TO:<b@far.test>')->{code}, 554, 'a stranger');
    $c->quit;
}
{
    my $c = $st->session(from => '127.0.0.7');
    is($c->cmd('XFORWARD ADDR=192.0.2.9 LOGIN=x')->{text}, '501 5.5.4 Bad XFORWARD attribute name: LOGIN', 'XFORWARD has no login');
    $c->cmd('XFORWARD NAME=orig.example ADDR=192.0.2.9 PROTO=SMTP', 250);
    $c->cmd('XFORWARD IDENT=ABC123 SOURCE=REMOTE HELO=[UNAVAILABLE]', 250);
    $c->cmd('MAIL FROM:<a@far.test>', 250);
    is($c->cmd('RCPT TO:<b@far.test>')->{code}, 554, 'it gives no right');
    $c->cmd('RCPT TO:<root@local.test>', 250);
    $st->wait_log(qr/client=unknown\[127\.0\.0\.7\], orig_queue_id=ABC123, orig_client=orig\.example\[192\.0\.2\.9\]$/m);
    $c->quit;
    $st->wait_log(qr/disconnect from unknown\[127\.0\.0\.7\] .*xforward=2\/3 /m);
}
# What it says goes with one message, and no farther.
{
    my $c = $st->session(from => '127.0.0.7');
    my $origin = sub {
        my ($name, @commands) = @_;
        $c->cmd($_, 250) for @commands, 'MAIL FROM:<a@far.test>', 'RCPT TO:<root@local.test>';
        $c->cmd('DATA', 354);
        $c->send("Subject: x\r\n\r\nx\r\n.\r\n");
        my $m = $st->letter(Gatepost::Smtp::id_of($c->reply));
        is("$m->{client_name} $m->{client_addr} $m->{helo}", 'unknown 127.0.0.7 client.example', "$name: who has really come");
        return join ' ', map { $m->{"origin_$_"} // '-' } qw(name addr port helo protocol ident);
    };
    my $flag = sub { my ($m) = map { $st->letter($_) } ($st->letters)[-1]; return ($m->{flags} // 0) & 0x6000 };
    is($origin->('all', 'XFORWARD NAME=orig.example ADDR=IPv6:2001:db8::9 PORT=99 PROTO=ESMTP HELO=h+2Bx IDENT=ABC123 SOURCE=LOCAL'),
        'orig.example 2001:db8::9 99 h+x ESMTP ABC123', 'all of it');
    is($flag->(), 0x6000, 'its headers are ours');
    is($origin->('next'), '- - - - - -', 'the next message has none of it');
    is($flag->(), 0, 'and strange headers');
    is($origin->('some', 'XFORWARD HELO=h.example'), 'unknown unknown - h.example - -', 'what is not said is not the client\'s');
    is($origin->('ident', 'XFORWARD IDENT=x SOURCE=REMOTE'), '- - - - - x', 'an id alone says nothing of the client');
    is($flag->(), 0, 'nor that another has come');
    is($origin->('reset', 'XFORWARD NAME=orig.example', 'RSET'), '- - - - - -', 'RSET');
    is($origin->('ehlo', 'XFORWARD NAME=orig.example', 'EHLO client.example'), '- - - - - -', 'EHLO');
    $c->cmd('XFORWARD NAME=orig.example', 250);
    like($c->cmd('MAIL FROM:<a@far.test> SIZE=999999999')->{text}, qr/^552 /, 'MAIL is refused');
    is($origin->('tried again'), 'orig.example unknown - - - -', 'and said again');
    $c->quit;
}
$st->order('stop');
$st->end;

# Nobody may by default.
$st = Gatepost::Stage->new;
$st->dialogue('default',
    'XCLIENT NAME=x.example' => '550 5.7.0 Error: insufficient authorization',
    'XFORWARD NAME=x.example' => '550 5.7.0 Error: insufficient authorization');
done_testing;
