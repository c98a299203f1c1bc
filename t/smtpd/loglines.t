#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What Debian's Postfix logs for an event is what Gatepost logs for it: the same clients talk to both,
# both relay to the same server, and the lines are compared with ids, sizes and times left out.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sink;
use Gatepost::Smtp;
use Test::More;

my $sink = Gatepost::Sink->new(keywords => [qw(PIPELINING 8BITMIME SIZE ENHANCEDSTATUSCODES DSN SMTPUTF8)], on => {
    mail => sub { $_[1] =~ /^<(no|wait)mail/ ? $1 eq 'no' ? '550 5.7.1 not from you' : '451 later' : undef },
    rcpt => sub {
        return '550 5.1.1 <x>: no such user' if $_[1] =~ /^<bad/;
        return "450-4.2.1 two\r\n450 4.2.1 lines" if $_[1] =~ /^<wait/;
        return '550 plain' if $_[1] =~ /^<plain/;
        return { reply => '421 4.3.0 going', drop => 1 } if $_[1] =~ /^<going/;
        return { drop => 1 } if $_[1] =~ /^<lost/;
        return;
    },
    data => sub { ($_[0]{rcpts}[0] // '') =~ /^<nodata/ ? '554 5.7.1 no data' : undef },
    dot => sub {
        return '554 5.6.0 bad content' if $_[1] =~ /^Subject: bad/m;
        return '451 4.6.0 strange content' if $_[1] =~ /^Subject: strange/m;
        return { drop => 1 } if $_[1] =~ /^Subject: gone/m;
        return;
    },
});
my $busy = Gatepost::Sink->new(on => { connect => sub { '450 4.3.2 busy' } });
my $shut = Gatepost::Sink->new(on => { connect => sub { '554 5.3.2 go away' } });
my $small = Gatepost::Sink->new(keywords => ['SIZE 1000']);
my $old = Gatepost::Sink->new(on => { ehlo => sub { '502 what' }, helo => sub { '550 5.0.0 no' } });
my $mute = Gatepost::Sink->new(on => { connect => sub { { drop => 1 } } });
my $lmtp = Gatepost::Sink->new(lmtp => 1, on => { lmtpdot => sub { $_[1] =~ /^<bad/ ? '552 5.2.2 full' : undef } });
my $nobody = free_port();

my %main = (
    compatibility_level => '3.6', myhostname => 'mx.example', mydomain => 'example', myorigin => '$myhostname',
    relayhost => '[127.0.0.1]:' . $sink->port, mynetworks => '127.0.0.9', mydestination => 'local.test',
    relay_domains => 'relay.test, open.test', smtpd_recipient_restrictions => '',
    smtpd_relay_restrictions => 'permit_mynetworks, reject_unauth_destination',
    relay_recipient_maps => 'inline:{' . join(', ', map {"{$_=x}"} '@open.test', 'good@relay.test',
        map {"\@$_.open.test"} qw(busy shut small old mute down lmtp err retry discard noname)) . '}',
    local_recipient_maps => 'inline:{root=x}', alias_maps => '', recipient_delimiter => '+',
    virtual_alias_domains => 'alias.test',
    virtual_alias_maps => 'inline:{{one@alias.test=a1@open.test},{two@alias.test=a1@open.test a2@open.test},'
        . '{err@alias.test=a@err.open.test},{noname@alias.test=a@noname.open.test},'
        . '{retry@alias.test=a@retry.open.test},{discard@alias.test=a@discard.open.test}}',
    virtual_mailbox_domains => 'box.test', virtual_mailbox_maps => 'inline:{{u@box.test=x}}',
    transport_maps => 'inline:{' . join(', ', map {"{$_->[0].open.test=$_->[1]}"}
        ['busy', 'smtp:[127.0.0.1]:' . $busy->port], ['shut', 'smtp:[127.0.0.1]:' . $shut->port],
        ['small', 'smtp:[127.0.0.1]:' . $small->port], ['old', 'smtp:[127.0.0.1]:' . $old->port],
        ['mute', 'smtp:[127.0.0.1]:' . $mute->port], ['down', "smtp:[127.0.0.1]:$nobody"],
        ['lmtp', 'lmtp:inet:127.0.0.1:' . $lmtp->port], ['err', 'error:5.7.9 none of that'],
        ['retry', 'retry:4.3.9 not now'], ['discard', 'discard:silently'],
        ['noname', 'error:just so']) . '}',
    parent_domain_matches_subdomains => 'relay_domains', relay_transport => 'smtp',
    minimal_backoff_time => '1h', maximal_backoff_time => '1h', queue_run_delay => '1h',
    smtpd_timeout => '5s', smtpd_hard_error_limit => 4, smtpd_soft_error_limit => 100,
    smtpd_client_connection_count_limit => 3, message_size_limit => 20000, smtpd_helo_required => 'no',
    smtpd_peername_lookup => 'no', smtpd_recipient_limit => 3, hopcount_limit => 5,
    smtpd_forbid_unauth_pipelining => 'yes', smtpd_recipient_overshoot_limit => 1,
    smtpd_forbid_bare_newline => 'no', inet_protocols => 'ipv4', inet_interfaces => '127.0.0.1',
    smtp_connection_cache_on_demand => 'no', lmtp_connection_cache_on_demand => 'no', smtpd_error_sleep_time => 0, fast_flush_domains => '',
    unknown_virtual_mailbox_reject_code => 550, notify_classes => '',
);
my $pf = Gatepost::Peers->postfix(main => { %main, disable_dns_lookups => 'yes' });
spew("$pf->{dir}/etc/master.cf", slurp("$pf->{dir}/etc/master.cf")
    . "lmtp unix - - n - - lmtp\ndiscard unix - - n - - discard\n");
$pf->stop->start;
my $gp = Gatepost::Instance->new(main => { %main, syslog_name => 'postfix' });
$gp->start;

# Each event is a list of lines to be sent, with a reply awaited behind each; a code ref does as it
# likes, a pattern waits for the log to have it. The session ends by QUIT unless the list ends with "close". until: a line behind which no other
# comes; by default the end of the session. The message's own lines have "removed" or a status.
# without: lines that are not compared.
my $end = qr/disconnect from/;
my $removed = qr/: removed$/m;
my $waits = qr/status=deferred/;
my $notice = qr/removed\n(?:.*\n)*.*removed$/m;

sub letter {
    my ($from, $to, $text, $mail, $rcpt) = @_;
    return sub {
        my ($c) = @_;
        $c->hello;
        $c->mail($from, $to, "Message-ID: <m\@client.test>\r\n" . $text, mail => $mail, rcpt => $rcpt);
        $c->quit;
    };
}

sub lines {
    my @lines = @_;
    return sub {
        my ($c, undef, $text) = @_;
        $c->reply;
        for my $line (@lines) {
            return $c->close if $line eq 'close';
            if (ref $line) {
                wait_until(60, sub { $text->() =~ $line });
                next;
            }
            $c->cmd($line);
        }
        $c->quit;
    };
}
my @begin = ('EHLO client.example', 'MAIL FROM:<s@client.test>');
my $x = "Subject: x\r\n\r\nx\r\n";

my @events = (
    ['nothing', lines()],
    ['HELO', lines('HELO client.example')],
    ['commands', lines('EHLO client.example', 'NOOP', 'RSET', 'VRFY root@local.test', 'EXPN x')],
    ['connects and leaves', lines('close')],
    ['leaves behind EHLO', lines('EHLO client.example', 'close')],
    ['leaves behind MAIL', lines(@begin, 'close')],
    ['leaves behind RCPT', lines(@begin, 'RCPT TO:<good@relay.test>', 'close'), qr/client=/],
    ['leaves in DATA', lines(@begin, 'RCPT TO:<good@relay.test>', 'DATA', 'close'), qr/client=/],
    ['leaves behind NOOP', lines('EHLO x', 'NOOP', 'close')],
    ['leaves behind an unknown command', lines('EHLO x', 'WHAT', 'close')],
    ['leaves behind RSET', lines(@begin, 'RSET', 'close')],
    ['relay denied', lines(@begin, 'RCPT TO:<x@far.test>')],
    ['relay denied without EHLO', lines('MAIL FROM:<s@client.test>', 'RCPT TO:<x@far.test>')],
    ['relay denied, HELO, null sender', lines('HELO client.example', 'MAIL FROM:<>', 'RCPT TO:<x@far.test>')],
    ['unknown local user', lines(@begin, 'RCPT TO:<no@local.test>')],
    ['unknown relay user', lines(@begin, 'RCPT TO:<no@relay.test>')],
    ['unknown alias', lines(@begin, 'RCPT TO:<no@alias.test>')],
    ['unknown mailbox', lines(@begin, 'RCPT TO:<no@box.test>')],
    ['unknown behind a good one', lines(@begin, 'RCPT TO:<good@relay.test>', 'RCPT TO:<no@relay.test>'), qr/client=/],
    ['odd names', lines("EHLO <\tx>", 'MAIL FROM:<"a b"@client.test>', 'RCPT TO:<"x y"@far.test>')],
    ['routes', lines(@begin, 'RCPT TO:<x%far.test@local.test>', 'RCPT TO:<far.test!x@local.test>', 'RCPT TO:<@local.test:x@far.test>')],
    ['no address', lines('EHLO x', 'MAIL FROM:x y z', 'MAIL FROM:<a@b@c>')],
    ['bad recipient', lines(@begin, 'RCPT TO:<>', 'RCPT TO:<@>')],
    ['bad parameters', lines('EHLO x', 'MAIL FROM:<a@b.test> FOO=BAR', 'MAIL FROM:<a@b.test> SIZE=x')],
    ['out of order', lines('EHLO x', 'RCPT TO:<good@relay.test>', 'DATA', 'MAIL FROM:<a@b.test>')],
    ['nested MAIL', lines(@begin, 'MAIL FROM:<a@b.test>')],
    ['said to be too large', lines('EHLO x', 'MAIL FROM:<a@b.test> SIZE=30000')],
    ['is too large', letter('s@client.test', 'good@relay.test', $x . ('x' x 70 . "\r\n") x 400), undef, qr/^cleanup: /],
    ['too many hops', letter('s@client.test', 'good@relay.test', "Received: x\r\n" x 6 . $x)],
    ['the limit of hops, with ours', letter('s@client.test', 'good@relay.test', "Received: x\r\n" x 4 . $x)],
    ['one hop fewer', letter('s@client.test', 'a@open.test', "Received: x\r\n" x 3 . $x), $removed],
    ['too many recipients', lines(@begin, map {"RCPT TO:<r$_\@open.test>"} 1 .. 6), qr/client=/],
    ['too many errors', lines('EHLO x', ('WHAT') x 5, 'close')],
    ['too many errors at RCPT', lines(@begin, ('RCPT TO:<x@far.test>') x 5, 'close')],
    ['not SMTP', lines('GET / HTTP/1.0', 'close')],
    ['a header', lines('Subject: x', 'close')],
    # Postfix carries out what is left of it.
    ['a long line', lines('EHLO x', 'NOOP ' . 'x' x 3000), undef, qr/disconnect/],
    ['talks ahead', sub {
        my ($c) = @_;
        $c->reply;
        $c->send("EHLO x\r\nMAIL FROM:<a\@b.test>\r\n");
        $c->reply;
        $c->at_eof;
    }],
    ['talks ahead behind DATA', sub {
        my ($c) = @_;
        $c->hello;
        $c->cmd('MAIL FROM:<a@b.test>');
        $c->cmd('RCPT TO:<good@relay.test>');
        $c->send("DATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n");
        $c->reply;
        $c->at_eof;
    }, qr/client=/],
    ['silent', sub { $_[0]->reply; $_[0]->at_eof }],
    ['silent behind EHLO', sub { $_[0]->hello; $_[0]->reply; $_[0]->at_eof }],
    ['silent behind RCPT', sub { my ($c) = @_; $c->hello; $c->cmd($_) for $begin[1], 'RCPT TO:<good@relay.test>'; $c->reply; $c->at_eof }],
    ['silent in DATA', sub { my ($c) = @_; $c->hello; $c->cmd($_) for $begin[1], 'RCPT TO:<good@relay.test>', 'DATA'; $c->send("x\r\n"); $c->reply; $c->at_eof }, undef, qr/^cleanup: /],
    ['too many connections', sub {
        my ($c, $port) = @_;
        $c->hello;
        my @more = map { Gatepost::Smtp->new(port => $port) } 1 .. 2;
        $_->hello for @more;
        my $last = Gatepost::Smtp->new(port => $port);
        $last->at_eof;
        $_->quit for $c, @more;
    }, qr/(?:disconnect from(?:.*\n)*.*){4}/],
    ['bad BDAT', lines(@begin, 'RCPT TO:<good@relay.test>', qr/client=/, 'BDAT x', 'close')],
    ['BDAT', sub { my ($c) = @_; $c->hello; $c->bdat('s@client.test', 'good@relay.test', "Message-ID: <m\@client.test>\r\n", "Subject: x\r\n\r\n"); $c->quit }, $removed],
    ['sent', letter('s@client.test', 'good@relay.test', $x), $removed],
    ['sent to two', letter('s@client.test', ['a@open.test', 'b@open.test'], $x), $removed],
    ['no Message-ID', sub { my ($c) = @_; $c->hello; $c->mail('s@client.test', 'a@open.test', "Subject: x\r\n\r\n"); $c->quit }, $removed],
    ['null sender', letter('', 'a@open.test', $x), $removed],
    ['an alias', letter('s@client.test', 'one@alias.test', $x), $removed],
    ['an alias for two', letter('s@client.test', 'two@alias.test', $x), $removed],
    ['an extension', letter('s@client.test', 'one+ext@alias.test', $x), $removed],
    ['quoted', letter('"s t"@client.test', '"a b"@open.test', $x), $removed],
    ['capitals', letter('S@Client.test', 'A@Open.Test', $x), $removed],
    ['with ORCPT', letter('s@client.test', 'a@open.test', $x, 'ENVID=x RET=HDRS', 'ORCPT=rfc822;o@orig.test NOTIFY=FAILURE'), $removed],
    ['MAIL deferred', letter('waitmail@client.test', 'a@open.test', $x), $waits],
    ['MAIL refused', letter('nomail@client.test', 'a@open.test', $x), $notice],
    ['RCPT refused', letter('s@client.test', 'bad@open.test', $x), $notice],
    ['RCPT refused without a code', letter('s@client.test', 'plain@open.test', $x), $notice],
    ['RCPT refused, null sender', letter('', 'bad@open.test', $x), $removed],
    ['RCPT deferred', letter('s@client.test', 'wait@open.test', $x), $waits],
    ['one of three is good', letter('', ['bad@open.test', 'wait@open.test', 'good@open.test'], $x), $waits],
    ['DATA refused', letter('', 'nodata@open.test', $x), $removed],
    ['content refused', letter('', 'a@open.test', "Subject: bad\r\n\r\n"), $removed],
    ['content deferred', letter('s@client.test', 'a@open.test', "Subject: strange\r\n\r\n"), $waits],
    ['lost behind the dot', letter('s@client.test', 'a@open.test', "Subject: gone\r\n\r\n"), $waits],
    ['lost at RCPT', letter('s@client.test', 'lost@open.test', $x), $waits],
    ['421 at RCPT', letter('s@client.test', 'going@open.test', $x), $waits],
    ['next hop down', letter('s@client.test', 'a@down.open.test', $x), $waits],
    ['next hop busy', letter('s@client.test', 'a@busy.open.test', $x), $waits],
    ['next hop shut', letter('s@client.test', 'a@shut.open.test', $x), $waits],
    ['next hop closes', letter('s@client.test', 'a@mute.open.test', $x), $waits],
    ['next hop knows neither EHLO nor HELO', letter('', 'a@old.open.test', $x), $removed],
    ['too large for the next hop', letter('', 'a@small.open.test', $x . 'x' x 900 . "\r\n" . 'y' x 900 . "\r\n"), $removed],
    ['LMTP', letter('', 'a@lmtp.open.test', $x), $removed],
    ['LMTP refuses one', letter('', ['a@lmtp.open.test', 'bad@lmtp.open.test'], $x), $removed],
    ['error transport', letter('', 'err@alias.test', $x), $removed],
    ['error transport without a code', letter('', 'noname@alias.test', $x), $removed],
    ['retry transport', letter('', 'retry@alias.test', $x), $waits],
    ['discard transport', letter('', 'discard@alias.test', $x), $removed],
);

sub text_since {
    my ($log, $mark) = @_;
    return appended($log, $mark);
}

# Programs log on their own: each message in TEXT has a status for every recipient, is removed
# unless one of them is deferred, and the notice that it led to has come as well.
sub is_settled {
    my ($text) = @_;
    my (%due, %got, %stays);
    $due{$1} = $2 while $text =~ /: (\w+): from=<.*>, size=\d+, nrcpt=(\d+) \(queue active\)$/mg;
    $due{$1} //= 1 while $text =~ /: sender non-delivery notification: (\w+)$/mg;
    while ($text =~ /: (\w+): to=<.*, status=(\w+)/g) {
        $got{$1}++;
        $stays{$1} = 1 if $2 eq 'deferred';
    }
    for my $id (keys %due) {
        return 0 if ($got{$id} // 0) < $due{$id};
        return 0 if !$stays{$id} && $text !~ /: $id: removed$/m;
    }
    return 1;
}

# What the log has of an event, without what is different each time, in order of programs.
sub seen {
    my ($log, $port, $event) = @_;
    my ($name, $run, $until, $without) = @$event;
    my $mark = -s $log || 0;
    my $c = Gatepost::Smtp->new(port => $port, timeout => 30) or return "no connection\n";
    $run->($c, $port, sub { text_since($log, $mark) });
    $c->close;
    wait_until(60, sub { my $t = text_since($log, $mark); $t =~ $end && $t =~ ($until // $end) && is_settled($t) })
        or diag "$name: the log is short in $log";
    return join '', map {"$_\n"} shown(text_since($log, $mark), $without);
}

sub shown {
    my ($log, $without) = @_;
    my @lines;
    for (split /\n/, $log) {
        my ($program, $text) = /^\w{3} [ \d]\d [\d:]{8} \S+ postfix\/(\w+)\[\d+\]: (.*)$/ or next;
        next if $program =~ /^(?:anvil|master|postlogd|resolver|scache)$/;
        $text =~ s/\b[0-9A-F]{7,14}\b/ID/g;
        $text =~ s/delay=[\d.]+, delays=[\d.\/]+/delay=D, delays=D/;
        $text =~ s/\]:\d+/]:PORT/g;
        $text =~ s/(for service) \S+/$1 PORT/;
        $text =~ s/size=\d+/size=N/;
        $text =~ s/<\d{14}\.ID\@/<TIME.ID\@/;
        $text =~ s/queued as S\d+/queued as S/;
        $text =~ s/message size \d+ exceeds/message size N exceeds/;
        push @lines, "$program: $text";
    }
    return grep { !$without || !/$without/ } sort @lines;
}

for my $event (@events) {
    next if @ARGV && $event->[0] !~ /$ARGV[0]/;
    # Its cleanup speaks behind its smtpd of what is too large.
    my $theirs = seen($pf->{log}, $pf->port, $event->[0] eq 'is too large' ? [@$event[0, 1], qr/cleanup\[\d+\]: warning: mail_stream_cleanup: close error/, $event->[3]] : $event);
    my $ours = seen($gp->{log}, $gp->port, $event);
    is($ours, $theirs, $event->[0]);
}
$gp->stop;
$pf->stop;
done_testing;
