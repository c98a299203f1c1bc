#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# "gatepost password" makes records that vault takes, with either scheme; gatemap takes nothing else
# for a table that main.cf or an -o of master.cf names, and leaves the table in force as it was.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Tables;
use Test::More;

my $dir = tempdir('records');
my $port = free_port();
my $gp = Gatepost::Instance->new(
    main => { smtpd_sasl_type => 'table', smtpd_sasl_password_maps => "hash:$dir/main" },
    master => ["$port inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o { smtpd_sasl_password_maps = hash:$dir/port }"],
);

sub password {
    my ($password, @args) = @_;
    spew("$dir/in", "$password\n");
    return run_out('/bin/sh', '-c', 'exec "$0" "$@" <' . "$dir/in", build() . '/sbin/gatepost', '-c', $gp->dir, 'password', @args);
}
my %line;
for (['joe@x.test'], ['ann@x.test', '--scheme', 'CRYPT'], ['bob@x.test', '--scheme', 'scram-sha-256']) {
    my ($login, @scheme) = @$_;
    my ($status, $out) = password("secret of $login", @scheme, $login);
    is($status, 0, "password @scheme $login");
    $line{$login} = $out;
}
like($line{'joe@x.test'}, qr/^joe\@x\.test \{SCRAM-SHA-256\}100000,[^,]{24},[^,]{44},[^,]{44}\n\z/, 'a SCRAM record');
like($line{'ann@x.test'}, qr/^ann\@x\.test \$y\$\S+\n\z/, 'a hash of crypt');
# However they are typed: e and U+0301 for U+00E9, U+00BD for 1, U+2044, 2.
my ($typed, $form) = ("e\xcc\x81\xc2\xbd", "\xc3\xa91\xe2\x81\x842");
{
    my ($status, $out) = password($typed, "$typed\@x.test");
    is($status, 0, 'a login and a password outside of ASCII');
    like($out, qr/^\Q$form\E\@x\.test \{SCRAM/, 'the login has one form');
    $line{$typed} = $out;
    # As another program might have written it.
    $line{"$typed\@y.test"} = "$typed\@y.test " . crypt_record($typed) . "\n";
}
for (["a\xee\x80\x80", 'joe'], ["\xf0\x9f\x94\x91", 'joe'], ['x', "jo\xee\x80\x80"], ["a\xff", 'joe'], ['', 'joe'], ["a\tb", 'joe'], ['x' x 2000, 'joe'], ['x', ''], ['x', 'a b'], ['x', '#a'], ['x', '--scheme', 'MD5', 'joe']) {
    my ($password, @args) = @$_;
    my ($status, $out) = password($password, @args);
    is($status, 1, "refused: '" . substr($password, 0, 10) . "' @args");
    like($out, qr/^gatepost: .*(?:expected|no such)/, 'with the reason');
}

for my $name (qw(main port)) {
    spew("$dir/$name", join '', values %line);
    my ($status, $out) = $gp->tool('gatemap', "hash:$dir/$name");
    is("$status$out", '0', "gatemap takes them for $name");
    my $before = slurp("$dir/$name.db");
    spew("$dir/$name", join '', values(%line), "eve\@x.test open-sesame\n", "old\@x.test {PLAIN}open-sesame\n");
    ($status, $out) = $gp->tool('gatemap', "hash:$dir/$name");
    is($status, 1, 'a clear password is refused');
    like($out, qr/\Q$dir\E\/$name, line 6: no password record; expected .*gatepost password/, 'with its line');
    like($out, qr/line 7.*2 of its values.*not changed/s, 'and the other');
    unlike($out, qr/open-sesame/, 'but not shown');
    ok($before eq slurp("$dir/$name.db"), 'the table stays');
    is_deeply([glob "$dir/$name.db.*"], [], 'nothing is left over');
}
spew("$dir/other", "eve\@x.test open-sesame\n");
is(($gp->tool('gatemap', "hash:$dir/other"))[0], 0, 'another table may hold anything');

# Mistakes that check finds.
for (['smtpd_sasl_type', 'cyrus', qr/smtpd_sasl_type: .*expected .*dovecot/],
    ['smtpd_sasl_security_options', 'noplain', qr/smtpd_sasl_security_options: "noplain" is no option; expected noplaintext/],
    ['smtpd_sasl_password_maps', '', qr/smtpd_sasl_type: "table" without a table; expected one in smtpd_sasl_password_maps/],
    ['smtpd_sasl_password_maps', 'nosuch:x', qr/smtpd_sasl_password_maps: .*nosuch/]) {
    my ($name, $value, $want) = @$_;
    my $before = $gp->{main}{$name};
    $gp->set($name => $value, smtpd_sasl_auth_enable => 'yes');
    my ($status, $out) = $gp->tool('gatepost', 'check');
    is($status, 1, "$name = $value is refused");
    like($out, qr/main\.cf:\d+:\d+: error: $want/, 'with place and reason');
    $gp->set($name => $before, smtpd_sasl_auth_enable => undef);
}

$gp->start;
for my $host (qw(x y)) {
    for my $login ($typed, $form) {
        my $c = Gatepost::Smtp->new(port => $port);
        $c->hello;
        is(plain($c, "$login\@$host.test", $typed)->{code}, 235, "$login\@$host.test logs in with what was typed");
    }
    my $c = Gatepost::Smtp->new(port => $port);
    $c->hello;
    is(login($c, "$typed\@$host.test", $typed)->{code}, 235, 'by LOGIN, too');
}
{
    my $c = Gatepost::Smtp->new(port => $port);
    $c->hello;
    is(scram($c, "$form\@x.test", $form)->{code}, 235, 'and by SCRAM, with the form, as its clients make it');
    my $d = Gatepost::Smtp->new(port => $port);
    $d->hello;
    is(plain($d, "jo\xee\x80\x80", 'x')->{text}, '535 5.7.8 Error: authentication failed: malformed message', 'a login that has no form');
}
delete @line{$typed, "$typed\@y.test"};
for my $login (sort keys %line) {
    my $c = Gatepost::Smtp->new(port => $port);
    $c->hello;
    is(plain($c, $login, "secret of $login")->{code}, 235, "$login logs in");
}
done_testing();
