#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Who is told of what (RFC 3461, 5.2), and whether readers that know nothing of us understand it (6).
use strict;
use warnings;
use utf8;
use Gatepost::Dsn;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

# Whether those who come later are let in is decided for each message, not in the midst of it.
my $ask = sub { my ($s) = @_; $s->{is_open} = $s->{sink}->is_set('open'); return };
my $answers = sub {
    my ($s, $arg) = @_;
    return '550 5.1.1 <x>: filtered' if $arg =~ /^<bad-filter/;
    return '550 5.1.1 <x>: no such user' if $arg =~ /^<bad/;
    return '450 4.2.0 not now' if $arg =~ /^<later/ && !$s->{is_open};
    return;
};
# Those who know mail servers by LMTP know them as the last ones.
my $last = Gatepost::Sink->new(lmtp => 1, keywords => [qw(PIPELINING 8BITMIME SIZE ENHANCEDSTATUSCODES SMTPUTF8)]);
# home has the senders; told knows DSN, plain does not.
my $home  = Gatepost::Sink->new;
my $told  = Gatepost::Sink->new(on => { mail => $ask, rcpt => $answers });
my $plain = Gatepost::Sink->new(on => { mail => $ask, rcpt => $answers }, keywords => [qw(PIPELINING 8BITMIME SIZE ENHANCEDSTATUSCODES SMTPUTF8)]);
# by keeps delivery times, slow only long ones; lmtp and lbox speak LMTP.
my @usual = qw(PIPELINING 8BITMIME SIZE DSN ENHANCEDSTATUSCODES CHUNKING);
my $by   = Gatepost::Sink->new(on => { mail => $ask, rcpt => $answers }, keywords => [@usual, 'DELIVERBY']);
my $slow = Gatepost::Sink->new(keywords => [@usual, 'DELIVERBY 300']);
my $lmtp = Gatepost::Sink->new(lmtp => 1, keywords => [qw(PIPELINING 8BITMIME DELIVERBY)]);
my $lbox = Gatepost::Sink->new(lmtp => 1, keywords => [qw(PIPELINING 8BITMIME)]);
my $boxes = tempdir('boxes');
mkdir "$boxes/spool";
chmod 0777, $boxes, "$boxes/spool";
spew("$boxes/default", "/^[^ ]+ (.*filtered.*)\$/ 5.7.17 \$1\n");
spew("$boxes/virtual", "/^[^ ]+ (delivered to maildir.*)\$/ 2.1.5 \$1\n");
my %port = map { $_->[0] => '[127.0.0.1]:' . $_->[1]->port } ['home', $home], ['told', $told], ['plain', $plain],
    ['by', $by], ['slow', $slow], ['lmtp', $lmtp], ['lbox', $lbox];
my $gp = Gatepost::Instance->new(main => {
    transport_maps => "inline:{ {client.test = smtp:$port{home}} {told.test = smtp:$port{told}} {plain.test = smtp:$port{plain}} {last.test = lmtp:inet:127.0.0.1:@{[$last->port]}}"
        . " {by.test = smtp:$port{by}} {slow.test = smtp:$port{slow}} {lmtp.test = lmtp:inet:127.0.0.1:" . $lmtp->port . "} {lbox.test = lmtp:inet:127.0.0.1:" . $lbox->port . "} }",
    mail_spool_directory => "$boxes/spool/",
    default_delivery_status_filter => "regexp:$boxes/default", virtual_delivery_status_filter => "regexp:$boxes/virtual",
    virtual_alias_domains => 'alias.test',
    virtual_alias_maps => 'inline:{ {list@alias.test = one@plain.test two@plain.test} {single@alias.test = bob@plain.test} }',
    mydestination => 'here.test', alias_maps => 'inline:{ {pair = three@plain.test, four@plain.test} {alone = five@plain.test} {along = k@by.test} }',
    virtual_mailbox_domains => 'box.test', virtual_mailbox_base => $boxes, virtual_mailbox_maps => 'static:all/',
    virtual_uid_maps => 'static:65534', virtual_gid_maps => 'static:65534', virtual_minimum_uid => 100,
    delay_warning_time => '1s', confirm_delay_cleared => 'yes', maximal_queue_lifetime => '1d',
    smtpd_recipient_restrictions => 'check_sender_access inline:{ {held@client.test=HOLD} {heldlist@client.test=HOLD} }, permit_mynetworks, reject',
    smtpd_deliver_by_enable => 'yes', smtpd_deliver_by_min_time => '2s', lmtp_assume_final => 'yes',
});
$gp->start;

my ($serial, $seen) = (0, 0);

# Sends one message; its sender's address names it.
sub send_mail {
    my ($rcpts, %arg) = @_;
    my $from = $arg{from} // 's' . ++$serial . '@client.test';
    my $c = $gp->session;
    my @params = ($arg{utf8} ? 'SMTPUTF8' : ()), ();
    my $say = sub { my $line = join ' ', @_; utf8::encode($line); return $c->cmd($line)->{code} };
    my $ok = $say->("MAIL FROM:<$from>", @params, $arg{mail} // ()) == 250;
    for my $rcpt (@$rcpts) {
        my ($to, $more) = ref $rcpt ? @$rcpt : $rcpt;
        $ok &&= $say->("RCPT TO:<$to>", $more // ()) == 250;
    }
    $ok &&= $say->('DATA') == 354;
    $ok &&= $say->("Subject: about mail $from\r\nMessage-ID: <$serial\@client.test>\r\n\r\nthe body\r\n.") == 250;
    $c->quit;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok($ok, "a message to @{[map { ref $_ ? qq(@$_) : $_ } @$rcpts]}");
    return $from;
}

# The notices that this sender got, once the queue has nothing of it.
sub notices { my ($to) = @_; return grep { $_->{rcpts}[0] eq $to } $home->messages }

sub wait_notices {
    my ($to, $n) = @_;
    wait_until(20, sub { notices($to) >= $n });
    return notices($to);
}

# 5.2.1: the next hop tells of success itself, and gets all that it needs for that.
my $s = send_mail([['a@told.test', 'NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first@else.test']], mail => 'RET=HDRS ENVID=QQ314159');
ok($gp->drained(20), 'it is gone');
my ($m) = $told->wait_messages(1);
like($m->{mail}, qr/RET=HDRS/, 'RET goes on');
like($m->{mail}, qr/ENVID=QQ314159/, 'and ENVID');
like($m->{rcpt}[0], qr/NOTIFY=SUCCESS,FAILURE/, 'and NOTIFY');
like($m->{rcpt}[0], qr/ORCPT=rfc822;first\@else\.test/, 'and ORCPT');
is(scalar notices($s), 0, 'nothing is to be told here');

# 5.2.2: one that knows no DSN: relayed. Others hear nothing of a success.
my $r = send_mail([['b@plain.test', 'NOTIFY=SUCCESS ORCPT=rfc822;first+2Blast@else.test'], ['c@plain.test', 'NOTIFY=FAILURE'],
    'd@plain.test', ['e@plain.test', 'NOTIFY=NEVER']], mail => 'ENVID=my+20id');
my ($n) = wait_notices($r, 1);
my $dsn = Gatepost::Dsn::check($n, 'relayed', to => $r, returned => 'text/rfc822-headers', about => { 'b@plain.test' => ['relayed', '2.0.0'] });
is($dsn->{message}{'original-envelope-id'}, 'my id', 'relayed: the envelope id');
is($dsn->{recipients}[0]{'original-recipient'}, 'rfc822;first+last@else.test', 'relayed: the original recipient');
like($dsn->{recipients}[0]{'remote-mta'}, qr/^dns; /, 'relayed: by whom');
like($dsn->{recipients}[0]{'diagnostic-code'}, qr/^smtp; ?250 /, 'relayed: what it said');
like($dsn->{returned}, qr/^Subject: about mail/m, 'relayed: the header section');
unlike($dsn->{returned}, qr/the body/, 'relayed: and no more');
like($dsn->{header}{subject}, qr/^Successful Mail Delivery Report/, 'relayed: its subject');

# Its own mailbox: delivered.
my $d = send_mail([['box@box.test', 'NOTIFY=SUCCESS']]);
Gatepost::Dsn::check((wait_notices($d, 1))[0], 'delivered', to => $d, returned => 'text/rfc822-headers',
    about => { 'box@box.test' => ['delivered', '2.1.5'] });

# 5.2.7.3: an alias of two is told of once; one of one passes NOTIFY on.
my $x = send_mail([['list@alias.test', 'NOTIFY=SUCCESS,FAILURE'], ['single@alias.test', 'NOTIFY=SUCCESS']]);
wait_notices($x, 1);
ok($gp->drained(20), 'expanded: all is gone');
my @x = Gatepost::Dsn::parse(notices($x));
my %about = map { map { ($_->{'final-recipient'} =~ s/^.*; ?//r) => $_->{action} } @{ $_->{recipients} } } @x;
is_deeply(\%about, { 'list@alias.test' => 'expanded', 'bob@plain.test' => 'relayed' }, 'expanded: the alias, and who stands for one');
is_deeply([sort grep {/^(?:one|two|list)/} map { @{ $_->{rcpts} } } $plain->messages], ['one@plain.test', 'two@plain.test'],
    'expanded: both got it, nobody else');
like(($gp->log_lines(qr/from=<$x>, size=\d+, nrcpt=3 /))[0] // '', qr/nrcpt=3/, 'expanded: counted as who gets it');

# The same of local's aliases, which become a message of their own.
my $y = send_mail([['pair@here.test', 'NOTIFY=SUCCESS'], ['alone@here.test', 'NOTIFY=SUCCESS']]);
wait_notices($y, 2);
ok($gp->drained(20), 'aliases: all is gone');
my @y = Gatepost::Dsn::parse(notices($y));
my %y = map { map { ($_->{'final-recipient'} =~ s/^.*; ?//r) => $_->{action} } @{ $_->{recipients} } } @y;
is_deeply(\%y, { 'pair@here.test' => 'expanded', 'five@plain.test' => 'relayed' }, 'aliases: of the same kinds') or diag explain(\@y);

# 5.2.5: failure; with all of the message, or its headers, as RET has it.
my $failing;
for (['RET=FULL', 'message/rfc822'], ['RET=HDRS', 'text/rfc822-headers'], ['', 'message/rfc822']) {
    my ($ret, $type) = @$_;
    my $f = $failing = send_mail([['bad@plain.test'], ['bad2@plain.test', 'NOTIFY=NEVER'], ['bad3@plain.test', 'NOTIFY=SUCCESS']], mail => $ret);
    $dsn = Gatepost::Dsn::check((wait_notices($f, 1))[0], "failed $ret", to => $f, returned => $type,
        about => { 'bad@plain.test' => ['failed', '5.1.1'] });
    like($dsn->{recipients}[0]{'diagnostic-code'}, qr/^smtp; 550 5\.1\.1 <x>: no such user/, 'failed: what was said');
    like($dsn->{returned}, qr/^Return-Path: <\Q$f\E>/m, 'failed: with the sender') if $type eq 'message/rfc822';
    is($dsn->{returned} =~ /the body/ ? 1 : 0, $type eq 'message/rfc822' ? 1 : 0, 'failed: the body');
}

# Section 6, case by case: each a message of its own, once as an internationalised one ("~" is then
# beyond ASCII).
my @cases = (
    # what it is, recipient, NOTIFY, action, status, who said so
    ['delivered by local', 'daemon@here.test', 'SUCCESS', 'delivered', '2.0.0'],
    ['delivered by virtual', 'box~@box.test', 'SUCCESS', 'delivered', '2.1.5'],
    ['delivered by LMTP', 'l~@last.test', 'SUCCESS', 'delivered', '2.0.0', 'host'],
    ['relayed', 'r~@plain.test', 'SUCCESS,FAILURE', 'relayed', '2.0.0', 'host'],
    ['expanded', 'list@alias.test', 'SUCCESS', 'expanded', '2.0.0'],
    ['expanded by local', 'pair@here.test', 'SUCCESS,DELAY', 'expanded', '2.0.0'],
    ['failed', 'bad~@plain.test', 'FAILURE', 'failed', '5.1.1', 'host'],
    ['failed, filtered', 'bad-filter~@plain.test', 'FAILURE', 'failed', '5.7.17', 'host'],
    ['expired', 'later-x~@plain.test', 'FAILURE', 'failed', '4.2.0', 'host'],
    ['delayed', 'later-d~@plain.test', 'DELAY', 'delayed', '4.2.0', 'host'],
    ['cleared', 'later-c~@plain.test', 'DELAY', 'relayed', '2.0.0', 'host'],
);
my @told;
for my $global (0, 1) {
    for my $case (@cases) {
        my ($name, $rcpt, $notify, $action, $status, $host) = @$case;
        my ($k, $full) = (scalar @told, $name eq 'failed' ? 'FULL' : 'HDRS');
        $rcpt =~ s/~/$global ? '-ü' : ''/e;
        push @told, { name => $global ? "global $name" : $name, rcpt => $rcpt, action => $action, status => $status, host => $host, global => $global,
            full => $full eq 'FULL', envid => "case $k", orcpt => "rfc822;first+$k\@else.test", from => $global ? "jürgen$k\@client.test" : "case$k\@client.test" };
        send_mail([[$rcpt, "NOTIFY=$notify ORCPT=rfc822;first+2B$k\@else.test"]], from => $told[-1]{from}, utf8 => $global, mail => "RET=$full ENVID=case+20$k");
    }
}
# Without a word of ENVID and ORCPT: nothing is said of the first, and we know of the second what came.
push @told, { name => 'plain', rcpt => 'bad-p@plain.test', action => 'failed', status => '5.1.1', host => 'host', full => 1,
    orcpt => 'rfc822;bad-p@plain.test', from => 'plain@client.test' };
send_mail(['bad-p@plain.test'], from => 'plain@client.test');
for my $t (grep { $_->{name} =~ /expired/ } @told) {
    utf8::encode(my $to = $t->{rcpt});
    ok(wait_until(20, sub { $gp->log_lines(qr/to=<\Q$to\E>, .*status=deferred/) }), "$t->{name}: it is tried");
    is(($gp->tool('gateq', 'expire', '--recipient', $to))[0], 0, "$t->{name}: and given up");
}

# 5.2.4: a delay is told of once, and when it is over (confirm_delay_cleared).
my $l = send_mail([['later@plain.test'], ['later2@plain.test', 'NOTIFY=DELAY'], ['later3@plain.test', 'NOTIFY=FAILURE'],
    ['later4@plain.test', 'NOTIFY=SUCCESS,DELAY'], 'quick@plain.test']);
($n) = wait_notices($l, 1);
my %late = map { ("$_\@plain.test" => ['delayed', '4.2.0']) } qw(later later2 later4);
$dsn = Gatepost::Dsn::check($n, 'delayed', to => $l, returned => 'text/rfc822-headers', about => \%late);
ok($dsn->{recipients}[0]{'will-retry-until'}, 'delayed: until when it is tried');
like($dsn->{header}{subject}, qr/^Delayed Mail/, 'delayed: its subject');
sub tried_again {
    my $n = () = $gp->log_lines(qr/to=<later\@plain\.test>, .*status=deferred/);
    $gp->tool('gateq', 'flush', 'ALL');
    return wait_until(20, sub { $gp->log_lines(qr/to=<later\@plain\.test>, .*status=deferred/) > $n });
}
ok(tried_again(), 'delayed: it is tried on');
is(scalar notices($l), 1, 'delayed: told once');
$gp->restart;
ok(tried_again(), 'delayed: also behind a restart');
is(scalar notices($l), 1, 'delayed: told once, still');
for my $t (grep { $_->{rcpt} =~ /^later-[cd]/ } @told) {
    utf8::encode(my $from = $t->{from});
    ok(wait_notices($from, 1), "$t->{name}: the delay is told of");
}
$plain->flag('open', 1);
$gp->tool('gateq', 'flush', 'ALL');
my @l = wait_notices($l, 2);
Gatepost::Dsn::check($l[1], 'cleared', to => $l, returned => 'text/rfc822-headers',
    about => { map { ("$_\@plain.test" => ['relayed', '2.0.0']) } qw(later later2 later4) });
ok($gp->drained(20), 'cleared: all is gone');
is(scalar notices($l), 2, 'cleared: nothing more');
$plain->flag('open', 0);

for my $t (@told) {
    utf8::encode(my $from = $t->{from});
    my $of = sub { grep { $_->{content} =~ /^Action: $t->{action}\r$/m } notices($from) };
    wait_until(20, sub { $of->() });
    my ($m, @more) = $of->();
    is(scalar @more, 0, "$t->{name}: told once");
    my $global = $t->{global} ? 1 : 0;
    my $type = $t->{full} ? ($global ? 'message/global' : 'message/rfc822') : $global ? 'message/global-headers' : 'text/rfc822-headers';
    my $dsn = Gatepost::Dsn::check($m, $t->{name}, to => $from, global => $global, returned => $type,
        about => { $t->{rcpt} => [$t->{action}, $t->{status}] }) or next;
    my ($r, $h) = ($dsn->{recipients}[0], $dsn->{header});
    is($dsn->{message}{'original-envelope-id'}, $t->{envid}, "$t->{name}: Original-Envelope-Id");
    is($r->{'original-recipient'}, $t->{orcpt}, "$t->{name}: Original-Recipient");
    ok($r->{'last-attempt-date'}, "$t->{name}: Last-Attempt-Date") if $t->{action} ne 'expanded';
    is(exists $r->{'remote-mta'} ? 1 : 0, $t->{host} ? 1 : 0, "$t->{name}: Remote-MTA");
    like($r->{'diagnostic-code'} // '', $t->{host} ? qr/^smtp; ?[245]50 / : qr/^X-Gatepost; ?\w|^$/, "$t->{name}: Diagnostic-Code");
    is(exists $r->{'will-retry-until'} ? 1 : 0, $t->{action} eq 'delayed' ? 1 : 0, "$t->{name}: Will-Retry-Until");
    is($h->{to}, $t->{from}, "$t->{name}: To");
    ok($h->{from} && $h->{date} && $h->{'message-id'} && $h->{subject}, "$t->{name}: From, Date, Message-Id, Subject");
    is($dsn->{returned} =~ /the body/ ? 1 : 0, $t->{full} ? 1 : 0, "$t->{name}: what is returned");
    my $shown = Gatepost::Dsn::mutt($m);
    utf8::decode($shown);
    like($shown, qr/<\Q$t->{rcpt}\E>/, "$t->{name}, mutt: the text names the recipient") or diag $shown;
    like($shown, qr/^Final-Recipient: (?:rfc822|utf-8); ?\Q$t->{rcpt}\E$/m, "$t->{name}, mutt: Final-Recipient");
    like($shown, qr/^Action: $t->{action}$/m, "$t->{name}, mutt: Action");
    like($shown, qr/^Subject: about mail /m, "$t->{name}, mutt: what is returned");
}

# The null sender is told nothing, whatever it wished.
my $count = $home->count;
send_mail([['bad@plain.test', 'NOTIFY=FAILURE,SUCCESS'], ['fine@plain.test', 'NOTIFY=SUCCESS']], from => '');
ok($gp->drained(20), 'the null sender: all is gone');
is($home->count, $count, 'the null sender: nobody is told');

# RFC 6533: an internationalised message has an internationalised report.
my $u = send_mail([['bad-' . 'dürst' . '@plain.test'], ['fein-dürst@plain.test', 'NOTIFY=SUCCESS']], from => 'jürgen@client.test', utf8 => 1);
utf8::encode(my $to = $u);
my @u = wait_notices($to, 2);
my ($failed)  = grep { $_->{content} =~ /Action: failed/ } @u;
my ($relayed) = grep { $_->{content} =~ /Action: relayed/ } @u;
$dsn = Gatepost::Dsn::check($failed, 'global failed', global => 1, to => $to, returned => 'message/global',
    about => { 'bad-dürst@plain.test' => ['failed', '5.1.1'] });
like($dsn->{recipients}[0]{'final-recipient'}, qr/^utf-8; ?bad-dürst\@plain\.test/, 'global failed: the type of its address');
is($dsn->{charset}, 'utf-8', 'global failed: the text, too');
like($failed->{mail}, qr/SMTPUTF8/, 'global failed: needs SMTPUTF8 itself');
Gatepost::Dsn::check($relayed, 'global relayed', global => 1, to => $to, returned => 'message/global-headers',
    about => { 'fein-dürst@plain.test' => ['relayed', '2.0.0'] });

# RFC 2852. Passed on with the time that is left, told of where its sender wants that, and where the
# next hop does not keep the time; given back where that is what it asked for.
my $by_left = sub { ($_[0]{mail} // '') =~ / BY=(-?\d+);(\w+)$/ ? ($1, $2) : (undef, '') };
# Of the time that a message had at FROM, what is left where it came: whole seconds, and how long it was on its way.
my $is_left = sub {
    my ($m, $time, $from) = @_;
    my ($left) = $by_left->($m // {});
    return defined $left && $left <= $time && $left >= $time - 2 - ($m->{came} - $from);
};
my $got = sub { my ($sink, $from) = @_; my ($m) = grep { $_->{from} eq $from } $sink->messages; return $m };
my $c = $gp->session;
is($c->{ehlo}{DELIVERBY}, 2, 'by: offered, with the least time');
$c->quit;
my $from = time;
my %f = (
    pass => send_mail(['a@by.test'], mail => 'BY=600;R'), trace => send_mail(['b@by.test', ['b2@by.test', 'NOTIFY=NEVER']], mail => 'BY=600;RT'),
    passn => send_mail(['c@by.test'], mail => 'BY=+600;N'), over => send_mail(['d@by.test'], mail => 'BY=-50;NT'),
    refused => send_mail(['e@plain.test', ['e2@plain.test', 'NOTIFY=NEVER']], mail => 'BY=600;R'),
    relayed => send_mail(['f@told.test', ['f2@told.test', 'NOTIFY=NEVER'], ['f3@told.test', 'NOTIFY=SUCCESS']], mail => 'BY=600;N'),
    least => send_mail(['g@slow.test'], mail => 'BY=100;R'), leastn => send_mail(['h@slow.test'], mail => 'BY=100;N'),
    alias => send_mail(['along@here.test'], mail => 'BY=600;R'), lmtp => send_mail(['i@lmtp.test'], mail => 'BY=600;R'), box => send_mail(['j@lbox.test'], mail => 'BY=600;R'),
);
ok($gp->drained(20), 'by: all is gone');
for (['pass', $by, 'R', 600], ['trace', $by, 'RT', 600], ['passn', $by, 'N', 600], ['over', $by, 'NT', -50], ['leastn', $slow, 'N', 100], ['lmtp', $lmtp, 'R', 600],
    ['alias', $by, 'R', 600]) {
    my ($name, $sink, $mode, $time) = @$_;
    my ($left, $has) = $by_left->($got->($sink, $f{$name}) // {});
    is($has, $mode, "by, $name: the mode goes on");
    ok($is_left->($got->($sink, $f{$name}), $time, $from), "by, $name: with the time that is left") or diag $left // 'none';
}
unlike(($got->($told, $f{relayed}) // {})->{mail} // 'BY=', qr/BY=/, 'by: nothing of it where it is not offered');
is_deeply([map { /NOTIFY=(\S+)/ ? $1 : '' } @{ $got->($told, $f{relayed})->{rcpt} }], ['FAILURE,DELAY', 'NEVER', 'SUCCESS,DELAY'],
    'by: but that of a delay is to be told');
ok($got->($lbox, $f{box}), 'by: a mailbox need not know of it');
is(scalar notices($f{$_}), 0, "by, $_: nobody is told") for qw(pass passn leastn lmtp box);
is($got->($plain, $f{refused}), undef, 'by: what is to be returned does not go where it is not offered');
my %by_about = (
    trace => ['relayed', 'text/rfc822-headers', { 'b@by.test' => ['relayed', '2.0.0'] }], over => ['relayed', 'text/rfc822-headers', { 'd@by.test' => ['relayed', '2.0.0'] }],
    relayed => ['relayed', 'text/rfc822-headers', { map { ("$_\@told.test" => ['relayed', '2.0.0']) } qw(f f3) }],
    refused => ['failed', 'message/rfc822', { 'e@plain.test' => ['failed', '5.4.7'] }], least => ['failed', 'message/rfc822', { 'g@slow.test' => ['failed', '5.4.7'] }],
);
for my $name (sort keys %by_about) {
    my @n = notices($f{$name});
    is(scalar @n, 1, "by, $name: told once");
    my $dsn = Gatepost::Dsn::check($n[0], "by, $name", to => $f{$name}, returned => $by_about{$name}[1], about => $by_about{$name}[2]);
    ok($dsn->{message}{'deliver-by-date'}, "by, $name: until when it was to be delivered");
}
my $unfolded = sub { ($_[0]{content} // '') =~ s/\r\n\s+/ /gr };
like($unfolded->(notices($f{refused})), qr/DELIVERBY is required, but was not offered by host /, 'by: why');
like($unfolded->(notices($f{least})), qr/ seconds are left for delivery, but host \S+ needs 300/, 'by: what the server wants');

# At its end it is returned, or told of, however long the next attempt is away; a restart and a
# requeue keep it.
$gp->set(minimal_backoff_time => '600s', maximal_backoff_time => '600s')->reload;
my $sent = time;
my %w = (
    back => send_mail(['later@by.test', ['later1@by.test', 'NOTIFY=NEVER']], mail => 'BY=12;R'), tell => send_mail(['later2@by.test', ['later3@by.test', 'NOTIFY=FAILURE']], mail => 'BY=12;N'),
    told => send_mail(['later4@by.test'], mail => 'BY=-5;N'), anew => send_mail(['later5@by.test'], mail => 'BY=300;R'), null => send_mail(['later6@by.test'], mail => 'BY=12;R', from => ''),
    heard => send_mail(['later7@by.test'], mail => 'BY=12;NT'),
    held => send_mail(['never@by.test'], mail => 'BY=2;R', from => 'held@client.test'),
    list => send_mail([['list@alias.test', 'NOTIFY=SUCCESS,FAILURE']], mail => 'BY=2;R', from => 'heldlist@client.test'),
);
$gp->wait_log(qr/to=<later$_\@by\.test>, .*status=deferred/, "by: later$_ waits") for '', 1 .. 7;
my ($anew) = map { /"queue_id": "(\w+)".*later5\@/ ? $1 : () } $gp->queue_list;
like(($gp->tool('gateq', 'show', $anew))[1], qr/^deliver_by: .*\ndeliver_by_mode: return$/m, 'by: gateq shows it');
is(($gp->tool('gateq', 'requeue', $anew))[0], 0, 'by: one is made anew');
$gp->restart;
my @back = wait_notices($w{back}, 1);
cmp_ok($back[0]{time} // 0, '>=', $sent + 11, 'by: returned at its time, not before');
$dsn = Gatepost::Dsn::check($back[0], 'by, back', to => $w{back}, returned => 'message/rfc822', about => { 'later@by.test' => ['failed', '5.4.7'] });
like($dsn->{recipients}[0]{'diagnostic-code'}, qr/^smtp; 450 4\.2\.0 not now/, 'by: with what the last attempt came to');
ok($dsn->{message}{'deliver-by-date'}, 'by: and its time');
$gp->wait_log(qr/from=<\Q$w{back}\E>, status=expired, returned to sender: the delivery time that it asked for is over \(DELIVERBY\)$/, 'by: the log has it');
ok($gp->find_log(qr/from=<>, status=expired, returned to sender: /), 'by: the same without a sender');
my @tell = wait_notices($w{tell}, 1);
ok(wait_notices($w{heard}, 1), 'by: and of another one');
$dsn = Gatepost::Dsn::check($tell[0], 'by, tell', to => $w{tell}, returned => 'text/rfc822-headers', about => { 'later2@by.test' => ['delayed', '4.4.7'] });
ok($dsn->{message}{'deliver-by-date'} && $dsn->{recipients}[0]{'will-retry-until'}, 'by: its time, and until when it is tried');
like($unfolded->($tell[0]), qr/the delivery time that its sender asked for is over; last attempt: host /, 'by: in words');
my ($again) = map { /"queue_id": "(\w+)".*later2\@/ ? $1 : () } $gp->queue_list;
is(($gp->tool('gateq', 'requeue', $again))[0], 0, 'by: what was told of is made anew');
$gp->wait_log(qr/: (?!$again)\w+: to=<later2\@by\.test>, .*status=deferred/, 'by: and waits again');
my ($held, $list) = map { my $who = $_; map { /"queue_id": "(\w+)".*$who\@/ ? $1 : () } $gp->queue_list } qw(never heldlist);
is(($gp->tool('gateq', 'release', $held // 'none', $list // 'none'))[0], 0, 'by: two that were held are released');
Gatepost::Dsn::check((wait_notices($w{held}, 1))[0], 'by, held', to => $w{held}, returned => 'message/rfc822', about => { 'never@by.test' => ['failed', '5.4.7'] });
$gp->wait_log(qr/$held: from=<held\@client\.test>, status=expired, returned to sender: /, 'by: it never was handed out');
is_deeply({ map { map { ($_->{'final-recipient'} =~ s/^.*; ?//r) => $_->{action} } @{ $_->{recipients} } } Gatepost::Dsn::parse(wait_notices($w{list}, 2)) },
    { 'list@alias.test' => 'expanded', map { ("$_\@plain.test" => 'failed') } qw(one two) }, 'by: an alias is expanded; they fail for whom it stands');
$by->flag('open', 1);
$gp->tool('gateq', 'flush', 'ALL');
ok($gp->drained(20), 'by: what is left goes then');
is(scalar notices($w{told}), 0, 'by: who was told before is not told again');
is(scalar(grep { $_->{content} =~ /Action: delayed/ } notices($w{tell})), 1, 'by: told once');
is(scalar notices($w{back}), 1, 'by: returned once');
is($got->($by, $w{back}), undef, 'by: and not delivered');
for (['heard', 'NT', 12, 'the next hop hears that its sender was told'], ['tell', 'N', 12, 'also of one that was made anew'],
    ['anew', 'R', 300, 'one that was made anew has what is left of its time']) {
    my ($name, $want, $time, $what) = @$_;
    my $m = $got->($by, $w{$name});
    my ($left, $mode) = $by_left->($m // {});
    ok($mode eq $want && $is_left->($m, $time, $sent) && $left < ($time == 12 ? 1 : 300), "by: $what") or diag $left // 'none';
}

like(join('', $gp->log_lines(qr/: sender (?:non-delivery|delay|delivery status) notification: [0-9A-F]+$/)), qr/delivery status/, 'the log has it');
$gp->stop;
done_testing;
